"""The echo sample before the judge of RFC 6455 and RFC 7692: the Autobahn|Testsuite."""
