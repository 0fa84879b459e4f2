"""Log-in through an OpenID Provider."""
