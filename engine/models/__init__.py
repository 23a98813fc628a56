"""The networks: CogVideoX's MM-DiT, and both forms of FantasyID's face conditioning."""
