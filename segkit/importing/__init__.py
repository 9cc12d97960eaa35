"""Datasets in others' layouts, written as a dataset of segkit."""
