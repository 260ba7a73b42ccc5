//! Changes to the world, shared by verbs and playbooks.
