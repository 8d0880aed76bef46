//! `lab verify`: is a record as it was signed, and is its lab one of these?

use super::fault_lines;
use anyhow::anyhow;
use lab::graded::read::Labs;
use lab::graded::seal;
use lang::charset::{eprintln, println};
use serde_json::Value;
use std::io::Read;
use std::path::Path;
use ui::labs as front;
use ui::prose::harmless;
use ui::texts::{Lang, Say};

/// Verifies a record, and prints what it says. Exit code 0: the record is as it was signed, and its
/// lab is one of these. `key`: the fingerprint that the signer must have. `directory`: labs to
/// compare with, instead of those in the binary; that of the environment does not count here,
/// because the record names the labs that were used.
pub(super) fn verify(
    file: &Path,
    key: Option<&str>,
    directory: Option<&Path>,
    lang: Lang,
) -> anyhow::Result<i32> {
    let mut text = String::new();
    match file.as_os_str() == "-" {
        true => _ = std::io::stdin().read_to_string(&mut text)?,
        false => text = std::fs::read_to_string(file).map_err(|e| anyhow!("{}: {e}", file.display()))?,
    }
    let record = match seal::verify(&text) {
        Ok(record) => record,
        Err(error) => {
            eprintln!("ropewalk: {}: {}", file.display(), error.say(lang));
            return Ok(1);
        }
    };
    let signer = record["signature"]["key"].as_str().unwrap_or_default();
    let shown_signer = harmless(signer);
    if key.is_some_and(|key| key != signer) {
        eprintln!("ropewalk: {}: {}", file.display(), lang.say(Say::OtherKey, &[&shown_signer]));
        return Ok(1);
    }
    let [lab, seed, score, max] = ["lab", "seed", "score", "max"].map(|key| field(&record, key));
    let with = [learner_of(lang, &record), lab, seed, score, max, shown_signer.into_owned()];
    println!("{}", lang.say(Say::LabVerified, &with.each_ref().map(String::as_str)));
    for line in front::remarks(lang, &record) {
        println!("{line}");
    }
    let labs = directory.map_or_else(Labs::built_in, |directory| Labs::read(directory).into());
    let problems = lab_problems(&labs, &record, lang);
    problems.iter().for_each(|line| eprintln!("ropewalk: {line}"));
    Ok(i32::from(!problems.is_empty()))
}

/// Returns why the lab of a record is none of these, a line each; nothing if it is one of them. If
/// no lab has its id, the faults of the files come first: one of them may keep it from being read.
fn lab_problems(labs: &Labs, record: &Value, lang: Lang) -> Vec<String> {
    let known = labs.get(record["lab"].as_str().unwrap_or_default());
    if known.is_some_and(|lab| record["content"] == lab.content.as_str()) {
        return vec![];
    }
    let mut lines = if known.is_none() { fault_lines(labs) } else { vec![] };
    let with = ["lab", "labs", "ropewalk", "content"].map(|key| field(record, key));
    lines.push(lang.say(Say::LabOther, &with.each_ref().map(String::as_str)));
    lines
}

/// Returns the learner of a record, or the text that it names none.
fn learner_of(lang: Lang, record: &Value) -> String {
    match record["learner"].as_str() {
        None | Some("") => lang.say(Say::LabNoLearner, &[]),
        Some(_) => field(record, "learner"),
    }
}

/// Returns a field of another person's record, without what a terminal would obey.
fn field(record: &Value, key: &str) -> String {
    match &record[key] {
        Value::String(text) => harmless(text).into_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A mistyped directory would read as a record of another lab.
    #[test]
    fn a_record_whose_lab_cannot_be_read_is_refused_with_the_fault() {
        let built_in = Labs::built_in();
        let content = built_in.get("broken-selector").expect("it is built in").content.as_str();
        let record = |content: &str| serde_json::json!({"lab": "broken-selector", "content": content});
        let problems = |labs: &Labs, content: &str| lab_problems(labs, &record(content), Lang::En);
        assert_eq!(problems(&built_in, content), Vec::<String>::new());
        let changed = problems(&built_in, "sha256:other");
        assert!(changed.len() == 1 && changed[0].contains("sha256:other"), "{changed:?}");
        let dir = tempfile::tempdir().unwrap();
        let absent = problems(&Labs::read(&dir.path().join("absent")), content);
        assert!(absent.len() == 2 && absent[0].contains("absent"), "{absent:?}");
    }

    /// The fields of another person's record could hide the score on a terminal, or write lines of
    /// their own.
    #[test]
    fn a_record_gives_the_terminal_no_orders() {
        let record = serde_json::json!({"learner": "Kim, 100 of 100\u{1b}[8m\nx", "score": 0});
        assert_eq!(field(&record, "learner"), "Kim, 100 of 100[8mx");
        assert_eq!(field(&record, "score"), "0");
    }

    #[test]
    fn a_record_may_name_no_learner() {
        let of = |record: Value| learner_of(Lang::En, &record);
        assert_eq!(of(serde_json::json!({"learner": "Kim"})), "Kim");
        for record in [serde_json::json!({"learner": ""}), serde_json::json!({})] {
            assert_eq!(of(record), "no learner named");
        }
    }
}
