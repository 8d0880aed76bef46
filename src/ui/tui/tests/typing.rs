//! What is typed without a look at the screen, and what a key types for the learner.

use super::keys::{control, fresh, press};
use super::*;
use crate::tui::layout::Pane;
use crossterm::event::KeyCode;

/// The bytes that these effects type into the shell.
fn typed(effects: Vec<Effect>) -> Vec<u8> {
    let bytes = |effect| match effect {
        Effect::Type(bytes) => bytes,
        _ => vec![],
    };
    effects.into_iter().flat_map(bytes).collect()
}

#[test]
fn a_line_that_is_typed_over_an_overlay_reaches_the_shell_whole() {
    for key in [1, 3, 4] {
        for line in ["hint", "lang en", "힌트"] {
            let mut model = fresh();
            press(&mut model, KeyCode::F(key));
            assert!(model.overlay.is_some());
            let typed: Vec<u8> =
                line.chars().flat_map(|c| typed(press(&mut model, KeyCode::Char(c)))).collect();
            assert_eq!(String::from_utf8_lossy(&typed), line);
            assert_eq!((model.overlay, model.focus), (None, Pane::Shell));
        }
    }
    let mut model = fresh();
    press(&mut model, KeyCode::F(1));
    assert_eq!(typed(control(&mut model, 'c')), [3], "Ctrl-C is the shell's, too");
    // What turns the pages of the help, and what closes it, is not for the shell.
    press(&mut model, KeyCode::F(1));
    for key in [' ', 'q'] {
        assert_eq!(press(&mut model, KeyCode::Char(key)), []);
    }
    assert_eq!(model.overlay, None);
}
