"""The words of the world: categories, topics, facets and projects, each in English and German, with synonyms.

Only words are here, no probabilities. Rows are referred to by index inside the world; indices never leave it.
"""

from __future__ import annotations

from typing import NamedTuple

LANGUAGES = ("en", "de")


class Category(NamedTuple):
    """What everybody can see of an item's topic. ``family`` names the looks it takes part in ("" for none)."""

    name: str
    word: tuple[str, str]
    family: str
    price: float
    """Median price of a product, in major units."""


class Topic(NamedTuple):
    """A fine topic below a category; ``words[language]`` are its synonyms, the most usual first."""

    category: int
    words: tuple[tuple[str, ...], tuple[str, ...]]


CATEGORIES: tuple[Category, ...] = (
    Category("tops", ("top", "Oberteil"), "fashion", 35),
    Category("trousers and skirts", ("bottom", "Unterteil"), "fashion", 50),
    Category("shoes", ("shoe", "Schuh"), "fashion", 80),
    Category("bags", ("bag", "Tasche"), "fashion", 70),
    Category("jewellery", ("piece of jewellery", "Schmuckstück"), "fashion", 60),
    Category("seating", ("seat", "Sitzmöbel"), "home", 350),
    Category("lighting", ("light", "Leuchte"), "home", 90),
    Category("home textiles", ("home textile", "Heimtextil"), "home", 60),
    Category("tableware", ("table piece", "Tischware"), "home", 30),
    Category("garden", ("garden idea", "Gartenidee"), "", 25),
    Category("food", ("recipe", "Rezept"), "", 15),
    Category("crafts", ("craft project", "Bastelprojekt"), "", 20),
    Category("travel", ("travel idea", "Reiseidee"), "", 120),
    Category("beauty", ("beauty look", "Beautylook"), "", 25),
    Category("art", ("artwork", "Kunstwerk"), "", 45),
    Category("fitness", ("workout", "Training"), "", 40),
)

TOPICS: tuple[Topic, ...] = (
    Topic(0, (("blouse", "shirt", "button-up"), ("Bluse", "Hemd", "Hemdbluse"))),
    Topic(0, (("sweater", "knit jumper", "pullover"), ("Pullover", "Strickpulli", "Strickjacke"))),
    Topic(0, (("tee", "t-shirt", "jersey top"), ("T-Shirt", "Shirt", "Jerseytop"))),
    Topic(1, (("jeans", "denim", "five-pocket pants"), ("Jeans", "Denimhose", "Röhrenhose"))),
    Topic(1, (("skirt", "midi skirt", "pleated skirt"), ("Rock", "Midirock", "Faltenrock"))),
    Topic(2, (("sneakers", "trainers", "runners"), ("Sneaker", "Turnschuhe", "Laufschuhe"))),
    Topic(2, (("boots", "ankle boots", "booties"), ("Stiefel", "Stiefeletten", "Boots"))),
    Topic(2, (("sandals", "slides", "espadrilles"), ("Sandalen", "Pantoletten", "Espadrilles"))),
    Topic(3, (("handbag", "purse", "shoulder bag"), ("Handtasche", "Umhängetasche", "Schultertasche"))),
    Topic(3, (("backpack", "rucksack", "daypack"), ("Rucksack", "Tagesrucksack", "Daypack"))),
    Topic(4, (("earrings", "studs", "hoops"), ("Ohrringe", "Ohrstecker", "Creolen"))),
    Topic(4, (("watch", "wristwatch", "timepiece"), ("Uhr", "Armbanduhr", "Chronograph"))),
    Topic(5, (("sofa", "couch", "settee"), ("Sofa", "Couch", "Zweisitzer"))),
    Topic(5, (("armchair", "lounge chair", "reading chair"), ("Sessel", "Lesesessel", "Ohrensessel"))),
    Topic(6, (("table lamp", "desk lamp", "bedside lamp"), ("Tischlampe", "Schreibtischlampe", "Nachttischlampe"))),
    Topic(6, (("pendant light", "hanging lamp", "chandelier"), ("Pendelleuchte", "Hängelampe", "Kronleuchter"))),
    Topic(7, (("rug", "carpet", "runner"), ("Teppich", "Läufer", "Vorleger"))),
    Topic(7, (("cushion", "throw pillow", "pillowcase"), ("Kissen", "Zierkissen", "Kissenbezug"))),
    Topic(7, (("curtains", "drapes", "window panels"), ("Vorhang", "Gardinen", "Stores"))),
    Topic(8, (("plates", "dinnerware", "bowls"), ("Teller", "Geschirr", "Schalen"))),
    Topic(8, (("vase", "flower vase", "jug"), ("Vase", "Blumenvase", "Krug"))),
    Topic(9, (("balcony plants", "potted plants", "balcony garden"), ("Balkonpflanzen", "Topfpflanzen", "Balkongarten"))),
    Topic(9, (("raised bed", "vegetable patch", "kitchen garden"), ("Hochbeet", "Gemüsebeet", "Küchengarten"))),
    Topic(10, (("cake", "layer cake", "cupcakes"), ("Kuchen", "Torte", "Törtchen"))),
    Topic(10, (("sourdough", "bread", "loaf"), ("Sauerteig", "Brot", "Laib"))),
    Topic(10, (("pasta", "noodles", "one-pot dinner"), ("Pasta", "Nudeln", "Feierabendküche"))),
    Topic(10, (("salad", "bowl lunch", "greens"), ("Salat", "Lunchbowl", "Rohkost"))),
    Topic(11, (("crochet", "amigurumi", "yarn craft"), ("Häkeln", "Amigurumi", "Garnarbeit"))),
    Topic(11, (("woodworking", "carpentry", "diy shelf"), ("Holzarbeit", "Schreinern", "Regalbau"))),
    Topic(11, (("origami", "paper folding", "card making"), ("Origami", "Papierfalten", "Kartenbasteln"))),
    Topic(12, (("hiking", "trail", "mountain walk"), ("Wandern", "Wanderweg", "Bergtour"))),
    Topic(12, (("city break", "weekend trip", "old town"), ("Städtereise", "Wochenendtrip", "Altstadt"))),
    Topic(12, (("beach", "island holiday", "seaside"), ("Strand", "Inselurlaub", "Küste"))),
    Topic(13, (("nails", "manicure", "nail art"), ("Nägel", "Maniküre", "Nageldesign"))),
    Topic(13, (("hairstyle", "braids", "haircut"), ("Frisur", "Flechtfrisur", "Haarschnitt"))),
    Topic(13, (("make-up", "eyeliner", "lip colour"), ("Make-up", "Lidstrich", "Lippenfarbe"))),
    Topic(14, (("watercolour", "painting", "sketchbook"), ("Aquarell", "Malerei", "Skizzenbuch"))),
    Topic(14, (("poster", "art print", "wall art"), ("Poster", "Kunstdruck", "Wandbild"))),
    Topic(15, (("yoga", "stretching", "pilates"), ("Yoga", "Dehnen", "Pilates"))),
    Topic(15, (("running", "marathon plan", "jogging"), ("Laufen", "Marathonplan", "Joggen"))),
)

MATERIALS = (
    ("linen", "Leinen"), ("cotton", "Baumwolle"), ("wool", "Wolle"), ("leather", "Leder"), ("oak", "Eiche"),
    ("steel", "Stahl"), ("glass", "Glas"), ("ceramic", "Keramik"), ("paper", "Papier"), ("recycled", "recycelt"),
)  # fmt: skip
USES = (
    ("everyday", "Alltag"), ("office", "Büro"), ("party", "Party"), ("outdoor", "draußen"),
    ("kids", "Kinder"), ("gift", "Geschenk"), ("holiday", "Ferien"), ("small spaces", "kleine Räume"),
)  # fmt: skip
SIZES = (("mini", "mini"), ("small", "klein"), ("medium", "mittel"), ("large", "groß"), ("oversized", "übergroß"))
PATTERNS = (
    ("plain", "einfarbig"), ("striped", "gestreift"), ("dotted", "gepunktet"),
    ("checked", "kariert"), ("floral", "geblümt"), ("gradient", "Farbverlauf"),
)  # fmt: skip
SHADES = (
    ("red", "rot"), ("coral", "koralle"), ("orange", "orange"), ("yellow", "gelb"), ("lime", "limette"), ("green", "grün"),
    ("teal", "petrol"), ("sky blue", "himmelblau"), ("blue", "blau"), ("violet", "violett"), ("purple", "lila"), ("pink", "rosa"),
)  # fmt: skip
"""Twelve hues around the colour circle, in order: neighbours are similar, six apart are complements."""
STYLES = (
    ("boho", "Boho"), ("minimal", "minimalistisch"), ("vintage", "Vintage"), ("nordic", "skandinavisch"),
    ("industrial", "Industrial"), ("romantic", "romantisch"), ("sporty", "sportlich"), ("classic", "klassisch"),
    ("rustic", "rustikal"), ("futuristic", "futuristisch"), ("coastal", "maritim"), ("maximalist", "opulent"),
)  # fmt: skip

FACETS: dict[str, tuple[tuple[str, str], ...]] = {
    "pattern": PATTERNS, "shade": SHADES, "style": STYLES, "material": MATERIALS, "use": USES, "size": SIZES,
}  # fmt: skip
"""Facets with words of their own; brands have made-up names. The first three show only in pictures."""
PICTURE_FACETS = ("pattern", "shade", "style")
TEXT_FACETS = ("material", "use", "brand", "size")

PROJECT_THEMES = (
    ("first flat", "erste Wohnung"), ("summer wedding", "Sommerhochzeit"), ("nursery", "Kinderzimmer"), ("home office", "Arbeitszimmer"),
    ("capsule wardrobe", "Basisgarderobe"), ("balcony", "Balkon"), ("birthday party", "Geburtstagsfeier"), ("winter cabin", "Winterhütte"),
    ("spring cleaning", "Frühjahrsputz"), ("road trip", "Autoreise"), ("reading corner", "Leseecke"), ("date night", "Date-Abend"),
    ("meal prep", "Vorkochen"), ("festival weekend", "Festivalwochenende"), ("guest room", "Gästezimmer"), ("new job", "neuer Job"),
    ("city escape", "raus aus der Stadt"), ("family dinner", "Familienessen"), ("slow living", "langsam leben"),
    ("fitness reset", "Neustart"),
    ("baby shower", "Babyparty"), ("studio", "Atelier"), ("brunch", "Brunch"), ("autumn mood", "Herbststimmung"),
)  # fmt: skip
CATCH_ALL_TITLES = (("stuff I like", "was mir gefällt"), ("ideas", "Ideen"), ("later", "für später"), ("inspiration", "Inspiration"))

TITLE_OPENERS = (
    ("", "lovely", "easy", "our", "the best", "handmade", "simple", "favourite"),
    ("", "schöne", "einfache", "unsere", "die beste", "selbst gemacht", "schlicht", "Lieblings-"),
)
TITLE_ENDINGS = (
    ("", "ideas", "to love", "you will keep", "for you", "at home", "this season", "in detail"),
    ("", "Ideen", "zum Verlieben", "die bleiben", "für dich", "daheim", "dieser Saison", "im Detail"),
)
SENTENCES = (
    (
        "A {topic} made of {material}.",
        "A closer look at this {topic}.",
        "Good for {use}.",
        "{brand} quality.",
        "Comes in {size}.",
        "More {category} every week.",
        "Saved by many.",
    ),
    (
        "{topic} aus {material}.",
        "Ein genauer Blick: {topic}.",
        "Gut für {use}.",
        "Qualität von {brand}.",
        "Größe: {size}.",
        "Jede Woche mehr: {category}.",
        "Von vielen gemerkt.",
    ),
)
BRAND_SYLLABLES = (
    "al",
    "bren",
    "cor",
    "dun",
    "el",
    "fara",
    "gro",
    "hal",
    "ivo",
    "jun",
    "kel",
    "lum",
    "mar",
    "nor",
    "ost",
    "pel",
    "qui",
    "ras",
    "sol",
    "tam",
    "ula",
    "ver",
    "wil",
    "yar",
    "zen",
)

TOPIC_CATEGORY: tuple[int, ...] = tuple(topic.category for topic in TOPICS)
