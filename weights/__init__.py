"""Models that come with arnet; ``arnet.runtime.shipped`` finds them by name."""
