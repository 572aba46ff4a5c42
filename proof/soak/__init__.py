"""Does it stay as it was: a day in accelerated time, an hour in real time."""
