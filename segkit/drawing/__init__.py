"""Pictures of results: masks over images, colours of classes, heat of a map, errors."""
