"""The HTTP side: the server, the engine that follows the live release, its metrics and the web page."""
