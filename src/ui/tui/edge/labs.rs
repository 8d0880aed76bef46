//! Follows the lab engine over the control socket, and asks it.

use super::super::event::{Event, Offer};
use super::follow::{AGAIN, Followed, Pauses};
use crate::guests::Asks;
use crate::texts::Lang;
use crate::{beside, guests, labs};
use cluster::Place;
use cluster::control::Control;
use lab::graded::view::{Ask, LabView};
use lab::view::Elsewhere;
use tokio::sync::mpsc::Sender;

/// Follows the open lab, in a language. After an error of the engine it is followed anew, with a
/// growing pause. A foreign cluster has no labs: then no view comes.
pub(super) async fn follow(place: Place, lang: Lang, tell: Sender<Event>) {
    let mut pauses = Pauses::default();
    loop {
        let mut heard = false;
        let end = follow_once(&place, lang, &tell, &mut heard).await;
        if heard {
            pauses = Pauses::default();
        }
        let pause = match end {
            Followed::Closed => return,
            Followed::Ended => AGAIN,
            // `lab list` says why.
            Followed::Failed(_) => pauses.next(),
        };
        clock::sleep(pause).await;
    }
}

/// Follows the open lab on one connection. `heard` becomes true when a view came.
async fn follow_once(place: &Place, lang: Lang, tell: &Sender<Event>, heard: &mut bool) -> Followed {
    let Ok(mut control) = Control::connect(place).await else { return Followed::Ended };
    let mut answer = control.ask(&Ask::Follow.question(lang)).await.map(Some);
    loop {
        let view = match answer {
            Ok(Some(value)) => serde_json::from_value::<LabView>(value).map_err(|e| e.to_string()),
            Ok(None) => return Followed::Ended,
            Err(error) => Err(error.say(lang)),
        };
        let view = match view {
            Ok(view) => view,
            Err(why) => return Followed::Failed(why),
        };
        *heard = true;
        // With the best grades: the one of the lab that is over may be among them. While a lab is
        // open they are seen beside the lessons only.
        if let Ok(list) = labs::asked(place, lang, Ask::List).await
            && tell.send(Event::Labs(list)).await.is_err()
        {
            return Followed::Closed;
        }
        if tell.send(Event::Lab(Box::new(view))).await.is_err() {
            return Followed::Closed;
        }
        answer = control.next().await;
    }
}

/// Asks the lab engine whether a lab is open.
pub(super) async fn is_open(place: &Place, lang: Lang) -> bool {
    let shown = labs::asked::<LabView>(place, lang, Ask::Show).await;
    shown.is_ok_and(|view| !view.id.is_empty())
}

/// Asks the engine one question, and sends its answer as an event.
pub(super) async fn question(place: Place, lang: Lang, ask: Ask, tell: Sender<Event>) {
    let declared = matches!(ask, Ask::Elsewhere { .. });
    let event = match guests::ask(&place, lang, ask).await {
        Ok(there) if declared => match serde_json::from_value::<Option<Elsewhere>>(there) {
            Ok(Some(there)) => {
                let megabytes = beside::megabytes(&place, &there.cluster).await;
                Event::Offer(Offer { there, megabytes })
            }
            _ => Event::Answered,
        },
        Ok(_) => Event::Answered,
        Err(error) => Event::Refused(error.say(lang)),
    };
    let _ = tell.send(event).await; // the interface may have ended
}

#[cfg(test)]
mod tests {
    use super::super::testing::{answers, next};
    use super::*;
    use lab::graded::view::Entry;
    use serde_json::json;
    use tokio::sync::mpsc::channel;

    #[tokio::test]
    async fn the_open_lab_is_followed_and_the_list_comes_with_it() {
        let view = |id: &str| json!({ "ok": LabView { id: id.into(), ..LabView::default() } });
        let entry = Entry { id: "orphans".into(), score: Some(40), ..Entry::default() };
        let (_dir, place) = answers(vec![vec![
            ("follow", vec![view("orphans"), view("")]),
            ("list", vec![json!({"ok": [entry]})]),
        ]]);
        let (tell, mut told) = channel(8);
        let task = tokio::spawn(follow(place.clone(), Lang::En, tell.clone()));
        for id in ["orphans", ""] {
            let list = next(&mut told).await;
            assert!(matches!(&list, Event::Labs(all) if all[0].score == Some(40)), "{list:?}");
            let lab = next(&mut told).await;
            assert!(matches!(&lab, Event::Lab(view) if view.id == id), "{lab:?}");
        }
        task.abort();
    }

    #[tokio::test]
    async fn what_the_engine_refuses_is_said() {
        let (_dir, place) =
            answers(vec![vec![("hint", vec![json!({"error": "there are no further hints"})])]]);
        let (tell, mut told) = channel(8);
        question(place.clone(), Lang::En, Ask::Hint { id: None }, tell.clone()).await;
        let event = next(&mut told).await;
        assert!(matches!(&event, Event::Refused(why) if why.contains("no further")), "{event:?}");
        question(place, Lang::En, Ask::Check { id: None, seed: None }, tell).await;
        assert!(matches!(next(&mut told).await, Event::Answered));
    }

    #[tokio::test]
    async fn a_lab_with_a_cluster_of_its_own_is_offered() {
        let cluster = lab::format::Declared { control_planes: 1, workers: 0 };
        let there = Elsewhere { id: "alone".into(), cluster, lab: true, seed: Some(7) };
        let (_dir, place) = answers(vec![vec![("elsewhere", vec![json!({ "ok": there })])]]);
        let (tell, mut told) = channel(8);
        question(place, Lang::En, Ask::Elsewhere { id: "alone".into(), seed: Some(7) }, tell).await;
        let event = next(&mut told).await;
        assert!(matches!(&event, Event::Offer(offer) if offer.there == there), "{event:?}");
    }

    #[tokio::test]
    async fn labs_that_cannot_be_followed_are_tried_again() {
        let view = json!({ "ok": LabView { id: "orphans".into(), ..LabView::default() } });
        let refused = json!({"error": "what is kept of labs is damaged"});
        let (_dir, place) = answers(vec![vec![("follow", vec![refused])], vec![("follow", vec![view])]]);
        let (tell, mut told) = channel(8);
        let task = tokio::spawn(follow(place, Lang::En, tell));
        let lab = next(&mut told).await;
        assert!(matches!(&lab, Event::Lab(view) if view.id == "orphans"), "{lab:?}");
        task.abort();
    }
}
