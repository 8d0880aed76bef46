//! Components that `fault stop` holds down when a lesson is opened.

use super::*;
use tap::Fault;

const SCHEDULER: &str = "kube-scheduler";

fn stopped() -> serde_json::Value {
    let since = "2026-01-01T00:00:00Z";
    json!([{"fault": "component stopped", "component": SCHEDULER, "nodes": ["n1"], "since": since}])
}

/// The notice of a component that is held down, in a language.
fn notice(lang: &str) -> String {
    words::say(lang, Word::StillHeld, &[SCHEDULER, "`fault start kube-scheduler`"])
}

/// `lesson ID` and `goto ID` both open one. With `fault start` the notice goes at once, and what is
/// stopped in the lesson is the learner's own doing.
#[tokio::test]
async fn a_component_that_is_held_down_is_told_until_it_is_started() {
    let goto = || Ask::Sure { ask: Box::new(Ask::Goto { step: WITHOUT.into() }), agreed: None };
    for ask in [goto(), sure(WITHOUT)] {
        let dir = tempfile::tempdir().unwrap();
        let (past, _goes) = server(|| Ok(json!([])), Ok(json!({})));
        let mut sitting = Sitting::begin(dir.path(), past).await;
        *sitting.stage.broken.lock() = stopped();
        let opened = sitting.answer("en", ask).await.unwrap();
        assert!(opened["notices"].as_array().unwrap().contains(&json!(notice("en"))), "{opened}");
        let korean = sitting.answer("ko", Ask::Show).await.unwrap();
        assert!(korean["notices"].as_array().unwrap().contains(&json!(notice("ko"))), "{korean}");
        let again = sitting.answer("en", goto()).await.unwrap();
        assert!(again["notices"].as_array().unwrap().contains(&json!(notice("en"))), "{again}");

        let (component, node) = (SCHEDULER.to_string(), None);
        *sitting.stage.broken.lock() = json!([]);
        let started = Fault::Start { component: component.clone(), node: node.clone() };
        sitting.stage.tap().emit(Record::new(tap::Event::Fault(started)));
        let is_told = |view: &LessonView| view.notices.contains(&notice("en"));
        sitting.shows(|view| view.id == WITHOUT && !is_told(view)).await;
        *sitting.stage.broken.lock() = stopped();
        sitting.stage.tap().emit(Record::new(tap::Event::Fault(Fault::Stop { component, node })));
        let later = sitting.answer("en", Ask::Show).await.unwrap();
        assert!(!later["notices"].as_array().unwrap().contains(&json!(notice("en"))), "{later}");
        sitting.crew.kill();
    }
}
