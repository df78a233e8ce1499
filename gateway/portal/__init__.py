"""The page on which a workspace's developer looks after webhooks: its links, its sessions and its files."""
