"""The beat study: settings chosen on DS1 and SVDB, then one test on DS2, by ANSI/AAMI EC57."""
