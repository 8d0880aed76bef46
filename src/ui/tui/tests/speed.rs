use super::*;
use crate::ui::tui::model::View;
use std::time::Instant;

/// A picture of 200 by 60 with 1000 pods. The limit is that of an optimised build; without optimisation ten times as much.
#[test]
fn a_picture_with_a_thousand_pods_is_quick() {
    let mut model = model(200, 60, Lang::Ko, Look { colour: true, ..Look::default() });
    let nodes: Vec<Value> = (0..10).map(|n| node(&format!("ropewalk-worker{n}"), n == 0, true)).collect();
    all(&mut model, "nodes", nodes);
    let states = ["Running", "ContainerCreating", "ImagePullBackOff", "Completed"];
    let pods = (0..1000).map(|n| {
        pod(
            "default",
            &format!("web-{:x}-{n:05}", n % 7),
            &format!("ropewalk-worker{}", n % 10),
            states[n % 4],
            1000 + n as u64,
        )
    });
    all(&mut model, "pods", pods.collect());
    let limit = if cfg!(debug_assertions) { 160 } else { 16 };
    for view in View::ALL {
        model.view = *view;
        let took = (0..5)
            .map(|_| {
                let began = Instant::now();
                screen(&model);
                began.elapsed()
            })
            .min()
            .unwrap_or_default();
        println!("{:<14} {:.2} ms", view.name(), took.as_secs_f64() * 1e3);
        assert!(took.as_millis() < limit, "{view:?} took {took:?}");
    }
}
