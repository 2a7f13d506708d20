use super::*;

const VOCABULARY: usize = 12;

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn load(&self, train: &str, dev: &str, corrections: Option<&str>) -> Result<Data, TrainError> {
        let tokenizer = self.write(
            "tokenizer.json",
            &crate::model::testing::tokenizer().to_string(),
        );
        let tokenizer = Tokenizer::open(&tokenizer, VOCABULARY, 8).unwrap();
        let source = Source {
            path: self.write("train.jsonl", train),
            weight: 0.5,
            calibrates: false,
        };
        let dev = self.write("dev.jsonl", dev);
        let corrections = corrections.map(|content| self.write("corrections.jsonl", content));
        let options = Options {
            class_weights: [2.0, 1.0, 1.0],
            conflicting_weight: 3.0,
            calibration_share: 0.1,
        };
        load(
            &[source],
            &[dev],
            corrections.as_deref(),
            &tokenizer,
            &options,
        )
    }
}

const DEV: &str = r#"{"text": "Acme cuts its outlook", "label": "negative"}"#;

#[test]
fn what_the_dev_file_has_is_dropped_and_counted() {
    let train = r#"{"text": "acme cuts its outlook! https://t.co/x", "label": "negative"}
{"text": "Acme beats", "label": "positive"}"#;
    let data = Files::new().load(train, DEV, None).unwrap();
    assert_eq!((data.lessons.len(), data.notes.in_dev), (1, 1));
    assert!(
        data.notes
            .dropped()
            .contains("1 texts dropped that a dev file has")
    );
    assert_eq!((data.dev.len(), data.notes.train[0].texts), (1, 2));
    let error = Files::new().load(DEV, DEV, None).unwrap_err().to_string();
    assert!(
        error.starts_with("nothing is left to learn from"),
        "{error}"
    );
}

#[test]
fn repetitions_count_once_and_contradictions_not_at_all() {
    let train = r#"{"text": "Acme beats", "label": "positive"}
{"text": "acme beats.", "label": "positive"}
{"text": "a profit", "label": "positive"}
{"text": "a profit", "label": "neutral"}
{"text": "A profit", "label": "positive"}
{"text": "profit", "label": "neutral"}"#;
    let data = Files::new().load(train, DEV, None).unwrap();
    assert_eq!(data.lessons.len(), 2);
    assert_eq!((data.notes.repeated, data.notes.contradictory), (1, 3));
    let only_contradictions = r#"{"text": "a", "label": "positive"}
{"text": "a", "label": "negative"}"#;
    let error = Files::new()
        .load(only_contradictions, DEV, None)
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("2 labels dropped that contradict"),
        "{error}"
    );
}

#[test]
fn weights_are_those_of_file_class_and_conflict() {
    let train = r#"{"text": "Acme beats its profit", "entities": [{"name": "Acme", "label": "positive"}, {"name": "profit", "label": "negative"}]}
{"text": "Acme cuts", "entities": [{"name": "Acme", "label": "negative"}, {"name": "Borealis", "label": "negative"}]}"#;
    let data = Files::new().load(train, DEV, None).unwrap();
    let target = |label, weight| Target { label, weight };
    let first = &data.lessons[0];
    assert_eq!(first.document, None);
    assert_eq!(
        first.entities,
        [
            (0, target(Label::Positive, 1.5)),
            (1, target(Label::Negative, 3.0))
        ]
    );
    let second = &data.lessons[1];
    assert_eq!(second.document, Some(target(Label::Negative, 1.0)));
    assert_eq!(second.entities.len(), 1);
    assert_eq!((data.notes.not_found, data.notes.derived), (1, 1));
}

#[test]
fn an_entity_behind_the_end_is_counted() {
    let train = format!(
        r#"{{"text": "{} Acme", "entities": [{{"name": "Acme", "label": "positive"}}], "label": "neutral"}}"#,
        "a ".repeat(20)
    );
    let data = Files::new().load(&train, DEV, None).unwrap();
    assert_eq!((data.notes.cut_off, data.notes.not_found), (1, 0));
    assert!(data.lessons[0].entities.is_empty());
}

#[test]
fn corrections_are_applied_by_the_hash_of_the_text() {
    let hash = |text: &str| hexadecimal(&Sha256::digest(text));
    let train = r#"{"text": "Acme  beats", "label": "neutral"}
{"text": "Acme cuts", "entities": [{"name": "Acme", "label": "neutral"}]}"#;
    let corrections = format!(
        r#"{{"sha256": "{}", "label": "positive", "was": "neutral"}}
{{"sha256": "{}", "entity": "Acme", "label": "negative", "was": "neutral"}}
{{"sha256": "{}", "entity": "Acme", "label": "negative", "was": "positive"}}"#,
        hash("Acme  beats"),
        hash("Acme cuts"),
        hash("elsewhere"),
    );
    let data = Files::new().load(train, DEV, Some(&corrections)).unwrap();
    assert_eq!(
        (data.notes.corrected, data.notes.corrections_unused),
        (2, 1)
    );
    assert_eq!(data.lessons[0].document.unwrap().label, Label::Positive);
    assert_eq!(data.lessons[1].entities[0].1.label, Label::Negative);
    let error = Files::new()
        .load(train, DEV, Some("{}"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("corrections.jsonl:1: "), "{error}");
}

#[test]
fn bad_files_are_named() {
    let unknown = r#"{"text": "a", "label": "mixed"}"#;
    let error = Files::new()
        .load(unknown, DEV, None)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("train.jsonl:1: ") && error.contains("mixed"),
        "{error}"
    );
    let error = Files::new().load("", DEV, None).unwrap_err().to_string();
    assert!(error.contains("train.jsonl: no examples in it"), "{error}");
    let error = Files::new().load(DEV, "\n", None).unwrap_err().to_string();
    assert!(error.contains("dev.jsonl: no examples in it"), "{error}");
}

#[test]
fn strange_texts_are_lessons_too() {
    let train = format!(
        r#"{{"text": "🚀🚀🚀", "label": "positive"}}
{{"text": "", "label": "neutral"}}
{{"text": "Акме снижает прогноз 利益 acme", "label": "negative", "entities": [{{"name": "利益", "label": "negative"}}]}}
{{"text": "{}", "label": "neutral"}}"#,
        "acme profit ".repeat(90_000)
    );
    let data = Files::new().load(&train, DEV, None).unwrap();
    assert_eq!(data.lessons.len(), 4);
    assert!(
        data.lessons
            .iter()
            .all(|lesson| (2..=8).contains(&lesson.passage.tokens.len()))
    );
}

#[test]
fn the_share_held_back_does_not_depend_on_the_order() {
    let held = (0..10_000)
        .filter(|number| share(&number.to_string()) < 0.05)
        .count();
    assert!((400..600).contains(&held), "{held}");
}
