"""Pure functions: bytes or one line in, frozen records out, ParseError for the rest."""
