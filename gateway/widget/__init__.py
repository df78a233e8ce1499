"""The chat that other people's pages embed: its files, and the door through which its visitors' browsers come in."""
