//! The explanation is what happened: beats that bind hops, each left out if a hop is missing.

use super::cel::{Facts, value};
use super::format::lesson::Step;
use super::format::{Beat, Sentences};
use super::words::{self, Word};
use cel::Value;
use std::sync::Arc;

/// Sentences of beats in one debrief, at most. The comparison with the prediction, where the step
/// does not list [`PREDICTED`], and `remember` come after these.
const SENTENCES_MAX: usize = 5;

/// The beat that compares the prediction with what was; a lesson may have its own words for it.
pub(crate) const PREDICTED: &str = "predicted";

/// `a | b`: the first of these beats that has something to tell.
pub(crate) fn alternatives(entry: &str) -> impl Iterator<Item = &str> {
    entry.split('|').map(str::trim)
}

/// The sentences of a finished step, in a language. `predicted` is the learner's choice.
pub(crate) fn tell(
    step: &Step,
    beats: &Sentences,
    facts: &Arc<Facts>,
    predicted: Option<&str>,
    lang: &str,
) -> Vec<String> {
    let mut sentences = Vec::new();
    let compared = comparison(step, predicted, facts, lang);
    let given = given(step, predicted, lang);
    let mut said = false;
    for entry in &step.debrief {
        for name in alternatives(entry) {
            let sentence = match beats.get(name) {
                Some(_) if name == PREDICTED && predicted.is_none() => None,
                Some(beat) => one(beat, facts, &given, lang),
                None if name == PREDICTED => compared.clone(),
                None => None,
            };
            said |= name == PREDICTED;
            if let Some(sentence) = sentence {
                sentences.push(sentence);
                break;
            }
        }
    }
    sentences.truncate(SENTENCES_MAX);
    if !said {
        sentences.extend(compared);
    }
    let remember = step.remember.get(lang);
    if !remember.is_empty() {
        sentences.push(words::say(lang, Word::Remember, &[remember]));
    }
    sentences
}

/// What beats may say about the prediction.
fn given(step: &Step, predicted: Option<&str>, lang: &str) -> Vec<(&'static str, Value)> {
    let text = |letter: &str| {
        let choices = step.predict.iter().flat_map(|p| &p.choices);
        value::text(choices.into_iter().find(|(l, _)| l == letter).map_or("", |(_, t)| t.get(lang)))
    };
    let answer = step.predict.as_ref().map_or("", |p| p.answer.as_str());
    vec![
        ("said", text(predicted.unwrap_or_default())),
        ("answer", text(answer)),
        ("right", Value::Bool(predicted == Some(answer))),
    ]
}

/// One beat; nothing if a hop that it binds is missing, or a value of its sentence.
pub(crate) fn one(beat: &Beat, facts: &Arc<Facts>, given: &[(&str, Value)], lang: &str) -> Option<String> {
    let mut bound: Vec<(&str, Value)> = given.to_vec();
    for (name, expr) in &beat.with {
        let value = expr.value(facts, &bound).ok()?;
        match &value {
            Value::Map(map) if map.map.is_empty() => return None,
            Value::List(list) if list.is_empty() => return None,
            _ => bound.push((name, value)),
        }
    }
    if let Some(when) = &beat.when
        && when.value(facts, &bound) != Ok(Value::Bool(true))
    {
        return None;
    }
    beat.say.get(lang)?.render(facts, &bound).ok()
}

/// The prediction against what happened: neither praise nor scolding.
///
/// "So it was" and "it was" are said only if `because` holds, that is, if the learner's own cluster
/// has shown the answer. It may hold a moment later: a debrief is made again while records still
/// arrive. A prediction without `because` is compared with the answer alone.
fn comparison(step: &Step, predicted: Option<&str>, facts: &Arc<Facts>, lang: &str) -> Option<String> {
    let predict = step.predict.as_ref()?;
    let chosen = predicted?;
    let text = |letter: &str| predict.choices.iter().find(|(l, _)| l == letter).map(|(_, t)| t.get(lang));
    let was_seen = predict.because.as_ref().is_some_and(|because| because.holds(facts));
    let (right, wrong) = match was_seen {
        true => (Word::PredictedRight, Word::PredictedWrong),
        false => (Word::PredictedRightUnseen, Word::PredictedWrongUnseen),
    };
    Some(match chosen == predict.answer {
        true => words::say(lang, right, &[text(chosen)?]),
        false => words::say(lang, wrong, &[text(chosen)?, text(&predict.answer)?]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cel::{Expr, Use};
    use crate::format::Library;
    use std::path::Path;

    fn record(component: &str, verb: &str, object: &str, at: i64) -> Value {
        value::map([
            ("component", value::text(component)),
            ("node", value::text("cp")),
            ("verb", value::text(verb)),
            ("object", value::text(object)),
            ("revision", Value::Int(812)),
            ("code", Value::Int(201)),
            ("took", Value::Duration(chrono::Duration::microseconds(3100))),
            ("at", value::time(jiff::Timestamp::from_millisecond(at).unwrap())),
            ("detail", value::of_json(&serde_json::json!({"have": 2, "want": 3}))),
        ])
    }

    #[test]
    fn a_debrief_tells_what_happened_and_nothing_else() {
        let library = Library::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures"));
        let step = &library.lessons[0].steps[0];
        let facts = |trace| Arc::new(Facts { trace: Arc::new(trace), ..Facts::default() });
        let nothing = facts(vec![]);
        assert_eq!(tell(step, &library.beats, &nothing, None, "en"), Vec::<String>::new());
        let created = facts(vec![record("kube-apiserver", "create", "Pod/default/nginx-pod", 5)]);
        let told = tell(step, &library.beats, &created, Some("a"), "en");
        assert!(
            told[0].starts_with("Your request reached cp and was stored as revision 812 after 3.1 ms."),
            "{told:?}"
        );
        assert!(told[1].contains("It already runs on a node") && told[1].contains("Nowhere yet"), "{told:?}");
        let korean = tell(step, &library.beats, &created, Some("b"), "ko");
        assert!(korean[0].starts_with("요청은 cp 노드의") && korean[1].contains("아직 없다"), "{korean:?}");
    }

    /// The learner may have done something else than the step was written for.
    #[test]
    fn so_it_was_is_said_only_of_what_was_seen() {
        let library = Library::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures"));
        let mut step = library.lessons[0].steps[0].clone();
        let told = |step: &Step, said: &str, lang: &str| {
            let trace = vec![record("kube-apiserver", "create", "Pod/default/nginx-pod", 5)];
            let facts = Arc::new(Facts { trace: Arc::new(trace), ..Facts::default() });
            tell(step, &library.beats, &facts, Some(said), lang).join("\n")
        };
        let because = |source: &str| Some(Expr::compile(source, Use::Check, &[]).unwrap());
        step.predict.as_mut().unwrap().because = because("trace.exists(t, t.verb == 'create')");
        assert!(told(&step, "b", "en").contains("”: so it was."));
        assert!(told(&step, "a", "en").contains(". It was “Nowhere yet"));
        assert!(told(&step, "b", "ko").contains("실제로도 그랬습니다"));
        for unproved in [
            because("trace.exists(t, t.verb == 'delete')"),
            because("object('Pod','d','p').spec.x == 1"),
            None,
        ] {
            step.predict.as_mut().unwrap().because = unproved;
            assert!(told(&step, "b", "en").contains("”: that is the right answer."));
            assert!(told(&step, "a", "en").contains(". The right answer is “Nowhere yet"));
            assert!(
                !told(&step, "b", "ko").contains("실제로도") && !told(&step, "a", "ko").contains("실제 답")
            );
        }
    }

    #[test]
    fn a_beat_counts_from_one_hop_to_the_other() {
        let library = Library::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures"));
        let mut healer = record("replicaset-controller", "create", "Pod/default/new", 1007);
        let trace = vec![record("kube-apiserver", "delete", "Pod/default/old", 1000), healer.clone()];
        let facts = |trace: Vec<Value>| Arc::new(Facts { trace: Arc::new(trace), ..Facts::default() });
        let told = one(&library.beats["healed"], &facts(trace), &[], "en").unwrap();
        assert!(
            told.contains("old was deleted by you (revision 812). 7.0 ms later")
                && told.contains("2 of 3 and created new"),
            "{told}"
        );
        healer = value::with(&healer, "code", Value::Int(409));
        let refused = vec![record("kube-apiserver", "delete", "Pod/default/old", 1000), healer];
        assert_eq!(one(&library.beats["healed"], &facts(refused), &[], "en"), None);
    }
}
