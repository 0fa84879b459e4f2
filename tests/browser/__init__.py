"""People's pages in a real browser: Debian's Chromium against a real server, in each language, judged by axe."""
