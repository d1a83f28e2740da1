"""All questions, in the order of the report; the command line, the first page, the findings and the tests follow it."""

from __future__ import annotations

from analysis.question import Jobs, Question

QUESTIONS: tuple[Question, ...] = (
    Question(
        "exercise1", "sec-exercise-1", "The program", "Assignment 1, exercise 1: complete the program", 1
    ),
    Question(
        "gradient_descent",
        "sec-q1",
        "Gradient descent",
        "Assignment 1, exercise 2, Q1: gradient descent or SGD",
        1,
    ),
    Question("overfitting", "sec-q2", "Over-fitting", "Assignment 1, exercise 2, Q2: over-fitting", 1),
    Question(
        "capacity",
        "sec-q3",
        "Depth and width",
        "Assignment 1, exercise 2, Q3: capacity, bias and variance",
        1,
    ),
    Question(
        "losses",
        "sec-q4",
        "Why cross entropy",
        "Assignment 1, exercise 2, Q4: cross entropy or quadratic loss",
        1,
    ),
    Question(
        "encoding",
        "sec-q5",
        "Why one-hot targets",
        "Assignment 1, exercise 2, Q5: one-hot targets or a single output",
        1,
    ),
    Question(
        "learning_rate",
        "sec-q6",
        "Sensitivity to the learning rate",
        "Assignment 1, exercise 2, Q6: sensitivity to the learning rate",
        1,
    ),
    Question(
        "vanishing_gradient",
        "sec-q7",
        "Vanishing gradients",
        "Assignment 1, exercise 2, Q7: vanishing gradients",
        1,
    ),
    Question("minibatch", "sec-minibatch", "Minibatches", "Assignment 2, exercise 1: minibatches", 2),
    Question(
        "constant_init",
        "sec-constant-start",
        "A constant start",
        "Assignment 2, exercise 2: a constant start",
        2,
    ),
    Question(
        "label_sorted_stream",
        "sec-sorted",
        "Examples sorted by label",
        "Assignment 2, exercise 3: examples sorted by label",
        2,
    ),
    Question("adam_vs_sgd", "sec-adam", "SGD and Adam", "Assignment 2, exercise 4: SGD and Adam", 2),
    Question(
        "smaller_network",
        "sec-smaller-network",
        "A smaller network",
        "The network chosen and a smaller one",
        None,
    ),
    Question("published", "sec-published", "Published test errors", "Networks as published by others", None),
)

EXPERIMENTS: dict[str, Jobs] = {question.name: question.jobs for question in QUESTIONS}
