"""The people's side: apply, plan and export a document; issue, disable and revoke credentials."""
