"""What the server is compared with. Each module has a class `Peer`: made with settings, it says `about` and answers `measure`."""
