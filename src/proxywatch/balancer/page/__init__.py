"""The balancer's page: the pool at a glance, and what was chosen last."""
