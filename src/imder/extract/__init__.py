"""From raw media to a corpus: an optional part (`imder[extract]`) that nothing else imports."""
