"""Between the engine and other worlds: asyncio in both directions, and HORUS."""
