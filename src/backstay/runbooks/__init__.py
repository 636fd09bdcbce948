"""The procedures, each a short declaration of steps that reads like the operations guide."""
