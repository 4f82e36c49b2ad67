"""What other people call our columns and actions. Names are compared without letter case and punctuation."""

from __future__ import annotations

import re

import polars as pl

from corkboard.lake.importers.config import ImportConfig


def folded(name: str) -> str:
    """Letters and digits only, lower case; camelCase, dots and underscores make no difference."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


COLUMN_NAMES: dict[str, str] = {
    "event_id": "event_id action_id interaction_id uuid event_uuid",
    "time_ms": (
        "time_ms timestamp timestamp_ms ts time date datetime event_time created_at occurred_at event_timestamp "
        "unixtime unix_timestamp unixreviewtime eventdate visittime"
    ),
    "user_id": (
        "user_id user uid visitor_id customer_id client_id member_id account_id reviewer_id profile_id shopper_id person_id userno"
    ),
    "session_id": "session_id session sess_id visit_id session_key sid",
    "item_id": (
        "item_id item iid sku product_id product movie_id asin article_id pin_id content_id video_id track_id artist_id book_id "
        "song_id listing_id goods_id business_id object_id post_id parent_asin gmap_id upc "
        "event_attributes.object.object_id clicked_doc_id doc_id"
    ),
    "action": (
        "action event event_type event_name type behavior behaviour behavior_type behaviour_type interaction interaction_type "
        "action_type activity action_name verb"
    ),
    "rating": "rating score stars overall rate rating_value event_value",
    "surface": "surface page placement page_type screen location_on_site",
    "query": "query search_query user_query search_term q keyword keywords",
    "duration_ms": "duration_ms dwell_time_ms dwell_ms view_time_ms",
    "position": "position rank pos slot event_attributes.position.ordinal",
    "request_id": "request_id impression_id recommendation_id rec_id query_id page_view_id",
    "quantity": "quantity qty count amount_bought",
    "board_id": "board_id board list_id collection_id playlist_id",
    "title": "title name item_name product_name movie_title product_title product_display_name headline label",
    "description": "description desc long_description short_description summary text body abstract overview",
    "category": "category category_id category_l1 class genre genres main_category sub_category article_type i_category department cat",
    "images": "images image image_url imageurl img picture picture_url pictureurl photo thumbnail",
    "link": "link url product_url href",
    "brand_id": "brand_id brand manufacturer vendor",
    "creator_id": "creator_id creator author author_id seller_id publisher artist",
    "merchant_id": "merchant_id merchant shop_id store_id store",
    "price_minor": "price_minor price_cents",
    "country": "country country_code nation",
    "language": "language lang locale",
    "interests": "interests topics favourite_topics favorite_genres",
}
"""Our column -> names that others give it, best known first, between blanks. "rating" is not a column: it becomes an action."""

OURS_BY_NAME: dict[str, tuple[str, float]] = {}
"""Folded outside name -> (our column, how sure we are in [0, 1]: the later in the list, the less)."""
for _ours, _names in COLUMN_NAMES.items():
    for _place, _name in enumerate(_names.split()):
        OURS_BY_NAME.setdefault(folded(_name), (_ours, 1.0 if _place == 0 else max(0.7, 0.96 - 0.01 * _place)))

ACTION_NAMES: dict[str, str] = {
    "close_up": "close_up view item_view product_view detail_page_view page_view view_item open detail pv expand zoom",
    "click": "click tap clk play listen read product_click select_item start visit",
    "long_click": "long_click watch finish complete long_view full_play dwell stream",
    "save": "save like favorite favourite fav bookmark add_to_wishlist wishlist collect collection repin upvote love",
    "hide": "hide dislike skip not_interested downvote dismiss thumbs_down",
    "report": "report flag",
    "add_to_cart": "add_to_cart cart addtobasket basket product_added_to_cart",
    "checkout": "checkout purchase buy transaction order bought order_completed sale product_purchased",
    "follow": "follow subscribe",
    "block": "block mute",
}
"""Our action -> what others call it, between blanks."""

ACTION_BY_NAME = {folded(name): ours for ours, names in ACTION_NAMES.items() for name in names.split()}
"""Folded outside name of an event -> our action."""


def action_of(names: pl.Expr, config: ImportConfig) -> pl.Expr:
    """Our action for outside event names. A name that nobody knows stays as it is, so that ingestion refuses the row and lists it."""
    known = ACTION_BY_NAME | {folded(name): ours for name, ours in config.action_names.items()}
    plain = names.str.to_lowercase().str.replace_all(r"[^a-z0-9]", "")
    return plain.replace_strict(known, default=names, return_dtype=pl.String)


def unknown_actions(names: pl.Series, config: ImportConfig) -> list[str]:
    """The event names of a column that :func:`action_of` leaves as they are, sorted."""
    known = set(ACTION_BY_NAME) | {folded(name) for name in config.action_names}
    return sorted(name for name in names.drop_nulls().unique().to_list() if folded(name) not in known)
