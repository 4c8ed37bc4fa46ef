"""aiohttp's own functional tests, run on our server and on aiohttp's."""
