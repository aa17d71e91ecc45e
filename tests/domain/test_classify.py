"""The classifier on requests of our own: TUNING was looked at while its cues were written, HELD_OUT was written before the first run."""

import pytest

from router.domain.classify import classify, estimate_tokens, tier
from router.domain.tasks import TASK_TYPES

TUNING: tuple[tuple[str, str], ...] = (
    ("code_generation", "Write a Python function that merges two sorted lists."),
    ("code_generation", "Implement a REST endpoint in FastAPI that returns the current time in a given zone."),
    ("code_review", "Please review this pull request and comment on naming and error handling."),
    ("code_review", "Review the following function for style and best practices:\ndef f(x):\n    return x+1"),
    ("bug_detection", "Why does this loop never end? while i < 10: print(i)"),
    ("bug_detection", "Find the bug: the total is one too high for empty carts."),
    ("refactoring", "Refactor this class into smaller units without changing its behaviour."),
    ("refactoring", "Clean up this module and remove duplicated code."),
    ("math_reasoning", "A train leaves at 9 and travels 80 km per hour for 3 hours. How many kilometres does it cover in total?"),
    ("math_reasoning", "Compute the derivative of x^2 + 3x."),
    ("symbolic_reasoning", "Simplify the boolean expression (A and B) or (A and not B)."),
    ("symbolic_reasoning", "If all bloops are razzies and all razzies are lazzies, are all bloops lazzies?"),
    ("constraint_solving", "Schedule six talks into two rooms so that no two talks by one speaker overlap."),
    ("constraint_solving", "Five people sit in a row; Ann sits next to Bob but not at an end. Find a seating."),
    ("formal_verification", "Prove in Lean 4 that reversing a list twice gives the list back."),
    ("formal_verification", "State a loop invariant for binary search and show that it holds."),
    ("documentation", "Write a docstring for every public method of this client."),
    ("documentation", "Draft the README with installation steps and a quick start."),
    ("summarization", "Summarize the meeting notes below in five bullet points."),
    ("summarization", "Give me the gist of this article."),
    ("creative_writing", "Write a short story about a lighthouse keeper who is afraid of the dark."),
    ("creative_writing", "Compose a haiku on the first snow."),
    ("style_transfer", "Rewrite this email in a more formal tone."),
    ("style_transfer", "Turn the paragraph into something Hemingway could have written, in the style of his short stories."),
    ("literature_review", "Survey recent papers on off-policy evaluation and group them by estimator."),
    ("literature_review", "Write the related work section for a study on sleep and memory."),
    ("data_extraction", "Extract the invoice number, date and total from the text and return JSON."),
    ("data_extraction", "Pull all the prices from this page into a CSV."),
    ("synthesis", "Combine the findings of these four reports into one coherent narrative."),
    ("synthesis", "Synthesize the interview transcripts into common themes."),
    ("critical_analysis", "Critically evaluate the argument that remote work harms innovation."),
    ("critical_analysis", "What are the strengths and weaknesses of this proposal?"),
    ("classification", "Classify this support ticket as billing, technical or other."),
    ("classification", "Which category fits this product best: toys, garden or kitchen?"),
    ("sentiment", "Is the following review positive or negative? The battery died after a day."),
    ("sentiment", "What is the sentiment of this tweet?"),
    ("entity_extraction", "List all people and organizations mentioned in the passage."),
    ("entity_extraction", "Tag the named entities in this sentence."),
    ("quick_qa", "What is the capital of Mongolia?"),
    ("quick_qa", "Who wrote The Master and Margarita?"),
    ("multimodal", "Describe the image in one paragraph."),
    ("multimodal", "What does this chart show?"),
)

HELD_OUT: tuple[tuple[str, str], ...] = (
    ("code_generation", "I need a bash script that rotates log files older than a week."),
    ("code_generation", "Create a React component for a date picker with keyboard support."),
    ("code_generation", "Generate a SQL query returning the ten customers with the highest revenue last month."),
    ("code_generation", "Write Go code to read a config file and watch it for changes."),
    ("code_review", "Can you look over my diff and tell me what a reviewer would complain about?"),
    ("code_review", "Do a code review of the changes to the payment module."),
    ("code_review", "Review my implementation of the LRU cache and suggest improvements to readability."),
    ("bug_detection", "My program crashes with IndexError: list index out of range, what is going on?"),
    ("bug_detection", "There is a race condition somewhere in this worker pool, locate it."),
    ("bug_detection", "Spot the defect in this comparison function; it returns the wrong answer for negative numbers."),
    ("refactoring", "Split this 400-line function into well-named helpers."),
    ("refactoring", "Simplify the nested conditionals in the code below and keep the tests green."),
    ("refactoring", "Please refactor the repository layer to use dependency injection."),
    ("math_reasoning", "Maria buys 4 notebooks at $3 each and pays with a $20 bill. How much money is left?"),
    ("math_reasoning", "What is the probability of rolling two sixes with three dice?"),
    ("math_reasoning", "Find the area of a triangle with sides 5, 12 and 13."),
    ("math_reasoning", "Evaluate the integral of sin(x) from 0 to pi."),
    ("symbolic_reasoning", "Define the operation a ★ b = 2a - b. Evaluate (3 ★ 4) ★ 5 following the rule."),
    ("symbolic_reasoning", "Decrypt the message with a Caesar cipher shifted by seven letters."),
    ("symbolic_reasoning", "Does the conclusion follow from the premises? No birds are mammals; some pets are birds."),
    ("constraint_solving", "Assign nurses to shifts such that each works at most five days and nobody has two nights in a row."),
    ("constraint_solving", "Solve this sudoku and show the completed grid."),
    ("constraint_solving", "Minimize the number of trucks while every order arrives before noon, subject to a load limit of 8 tonnes."),
    ("formal_verification", "Prove that this sorting routine terminates and returns a permutation of its input."),
    ("formal_verification", "Write a TLA+ specification of a two-phase commit and check its safety property."),
    ("formal_verification", "Annotate the method with pre- and postconditions that Dafny accepts."),
    ("documentation", "Write API documentation for the /users endpoint including error codes."),
    ("documentation", "Document how to configure the cluster for new operators."),
    ("documentation", "Turn these commit messages into release notes."),
    ("summarization", "Condense this chapter to a single page."),
    ("summarization", "tl;dr of the thread please"),
    ("summarization", "What are the key takeaways from the earnings call transcript?"),
    ("creative_writing", "Tell me a fable in which a fox learns patience."),
    ("creative_writing", "Write song lyrics about leaving a small town."),
    ("creative_writing", "Invent a dialogue between two rival chefs who discover they are siblings."),
    ("style_transfer", "Rephrase this paragraph so that a ten-year-old child understands it."),
    ("style_transfer", "Make this message more polite and less direct."),
    ("style_transfer", "Rewrite the press release in the voice of a pirate."),
    ("literature_review", "Review the published literature on microplastics in drinking water."),
    ("literature_review", "Which papers since 2020 study retrieval-augmented generation, and how do they differ?"),
    ("literature_review", "Prepare an annotated bibliography on urban heat islands with citations."),
    ("data_extraction", "Parse this receipt and give me each line item with quantity and price."),
    ("data_extraction", "From the contract below, extract the parties' obligations and deadlines into a table."),
    ("data_extraction", "Get the order number and the shipping date out of this email as JSON."),
    ("synthesis", "Merge these three analyst notes into a unified view of the market."),
    ("synthesis", "Bring together the results of the user interviews and the survey into an overall picture."),
    ("synthesis", "Integrate perspectives from the attached sources into a single report."),
    ("critical_analysis", "How convincing is the author's argument, and which assumptions does it rest on?"),
    ("critical_analysis", "Weigh the pros and cons of nuclear power for small countries."),
    ("critical_analysis", "Critique the methodology of this clinical trial."),
    ("classification", "Is this email spam or not?"),
    ("classification", "Categorize each headline as sports, politics or business."),
    ("classification", "Label the customer's intent as cancel, upgrade or question."),
    ("sentiment", "How does the reviewer feel about the hotel?"),
    ("sentiment", "Rate the emotion of this comment: joy, anger, fear or sadness."),
    ("sentiment", "Decide if this feedback is positive, neutral or negative: 'It works, I guess.'"),
    ("entity_extraction", "Find every company name in the article."),
    ("entity_extraction", "Extract the names of drugs and diseases from this abstract."),
    ("entity_extraction", "Which entities (people, places, dates) occur in this text?"),
    ("quick_qa", "How tall is Mount Kilimanjaro?"),
    ("quick_qa", "When did the Berlin Wall fall?"),
    ("quick_qa", "What does HTTP stand for?"),
    ("quick_qa", "Is a tomato a fruit?"),
    ("multimodal", "Caption this photo for a newspaper."),
    ("multimodal", "Read the attached screenshot and tell me which setting is wrong."),
    ("multimodal", "Write alt text for the picture on our home page."),
)


def accuracy(sentences: tuple[tuple[str, str], ...]) -> float:
    return sum(classify(text)[0] == task_type for task_type, text in sentences) / len(sentences)


def test_held_out_sentences_are_classified() -> None:
    assert len(HELD_OUT) >= 60
    assert {task_type for task_type, _ in HELD_OUT} == set(TASK_TYPES)
    assert accuracy(HELD_OUT) >= 0.85  # 0.91 when written
    assert accuracy(TUNING) >= 0.95


def test_confidence_is_calibrated_on_held_out_sentences() -> None:
    answers = [(confidence, found == task_type) for task_type, text in HELD_OUT for found, confidence in [classify(text)]]
    sure = [right for confidence, right in answers if confidence >= 0.8]
    unsure = [right for confidence, right in answers if confidence < 0.5]
    mean_confidence = sum(confidence for confidence, _ in answers) / len(answers)
    assert len(sure) >= 30
    assert sum(sure) / len(sure) >= 0.9
    assert sum(unsure) / len(unsure) < sum(sure) / len(sure)
    assert abs(mean_confidence - accuracy(HELD_OUT)) <= 0.15


def test_a_text_without_cues_is_a_guess() -> None:
    task_type, confidence = classify("Hmm.")
    assert task_type == "quick_qa"
    assert confidence < 0.2
    assert classify("")[1] < 0.2


def test_the_instruction_is_found_at_either_end_of_a_long_text() -> None:
    filler = "The harbour was calm and the boats came in. " * 2000
    assert classify(f"Summarize the following report.\n{filler}")[0] == "summarization"
    assert classify(f"{filler}\nWhat is the sentiment of this text?")[0] == "sentiment"


def test_classification_is_deterministic() -> None:
    assert [classify(text) for _, text in HELD_OUT] == [classify(text) for _, text in HELD_OUT]


# token counts of tokenizers' own: the mean of two published vocabularies, rounded
@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("", 0, 0),
        ("a", 1, 1),
        ("The quick brown fox jumps over the lazy dog. " * 20, 150, 250),
        ("def add(a: int, b: int) -> int:\n    return a + b\n" * 10, 150, 300),
        ("机器学习是人工智能的一个分支。" * 10, 60, 160),
        ("1234567890 " * 20, 60, 220),
    ],
)
def test_tokens_are_estimated(text: str, low: int, high: int) -> None:
    assert low <= estimate_tokens(text) <= high


def test_longer_texts_never_have_fewer_tokens() -> None:
    text = "Résumé: 3 × 4 = 12; `x += 1` — ok? " * 5
    counts = [estimate_tokens(text[:n]) for n in range(len(text))]
    assert counts == sorted(counts)


def test_half_a_character_is_counted_and_not_refused() -> None:
    assert estimate_tokens("\ud83d alone") > 0


@pytest.mark.parametrize(
    ("tokens", "name"),
    [
        (0, "short"),
        (1_999, "short"),
        (2_000, "medium"),
        (31_999, "medium"),
        (32_000, "long"),
        (127_999, "long"),
        (128_000, "very_long"),
        (2_000_000, "very_long"),
    ],
)
def test_tiers(tokens: int, name: str) -> None:
    assert tier(tokens) == name
