"""What several test files share: worlds, crafted bytes, servers that misbehave, stand-ins. No test lives here."""
