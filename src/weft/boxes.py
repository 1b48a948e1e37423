"""What the rows of boxes hold: of targets (n, 7), and of answers (N, 6)."""

#: The corners x1, y1, x2, y2 in pixels come first, in targets and in answers.
LEFT, TOP, RIGHT, BOTTOM = range(4)
NUM_CORNERS = 4

#: Of a target: the number of its class, whether it is ignored, and the area of the object in pixels.
CLASS, IGNORED, AREA = range(4, 7)
NUM_COLUMNS = 7

#: In `IGNORED`: it counts; it is neither right nor wrong; and that, for any number of answers within it.
COUNTED, DIFFICULT, CROWD = 0, 1, 2

#: In every column of a row that only fills up a target: there is no object.
PADDING = -1

#: Of an answer: its score, and the number of its class. A row that only fills up has the score 0, which no answer has.
SCORE, ANSWERED_CLASS = range(4, 6)
NUM_ANSWER_COLUMNS = 6
