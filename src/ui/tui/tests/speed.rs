use super::*;
use crate::tui::model::View;
use rng::growth::grows_as_its_input;

/// A model of 200 by 60 with ten nodes and so many pods.
fn with_pods(pods: usize, view: View) -> Model {
    let mut model = model(200, 60, Lang::Ko, Look { colour: true, ..Look::default() });
    let nodes: Vec<Value> = (0..10).map(|n| node(&format!("ropewalk-worker{n}"), n == 0, true)).collect();
    all(&mut model, "nodes", nodes);
    let states = ["Running", "ContainerCreating", "ImagePullBackOff", "Completed"];
    let pods = (0..pods).map(|n| {
        pod(
            "default",
            &format!("web-{:x}-{n:05}", n % 7),
            &format!("ropewalk-worker{}", n % 10),
            states[n % 4],
            1000 + n as u64,
        )
    });
    all(&mut model, "pods", pods.collect());
    model.view = view;
    model
}

/// A picture of thousands of pods costs no more for each pod than one of a thousand.
#[test]
fn a_picture_grows_with_its_pods_and_no_more() {
    for view in View::ALL {
        let draw = |model: Model| (0..3).for_each(|_| drop(screen(&model)));
        grows_as_its_input(view.name(), 8_000, |pods| with_pods(pods, *view), draw);
    }
}
