"""What a run leaves for people: measures of what was found, a picture of each case, a page of the whole."""
