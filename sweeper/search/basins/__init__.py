"""What a ladder is made of: a model of the losses at all scales, and which runs it wants next."""
