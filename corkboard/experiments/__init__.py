"""Is it any good: offline evaluation by the calendar, leak checks, and claims over seeds. It knows scorers, never how they are built."""
