"""Databases, collections and documents: PyMongo only, no MongoEngine."""
