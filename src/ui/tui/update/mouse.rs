//! What the mouse changes.

use super::lesson_keys::scroll_by;
use crate::tui::event::Effect;
use crate::tui::keys;
use crate::tui::layout::{self, Pane};
use crate::tui::model::{Model, Overlay};
use crate::tui::render;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Rect;

/// Lines that one notch of the wheel scrolls.
const NOTCH: isize = 3;

/// Takes in the mouse; true if the screen looks different now.
pub(super) fn handle_mouse(model: &mut Model, mouse: MouseEvent, effects: &mut Vec<Effect>) -> bool {
    let panes = model.panes();
    let wheel = match mouse.kind {
        MouseEventKind::ScrollUp => NOTCH,
        MouseEventKind::ScrollDown => -NOTCH,
        _ => 0,
    };
    if let Some(overlay) = model.overlay {
        let last = render::last(model, overlay);
        // A text moves by lines, the mark of a list by entries.
        let by = if matches!(overlay, Overlay::Help(_)) { wheel } else { wheel.signum() };
        let at = overlay.at().min(last).saturating_add_signed(-by).min(last);
        match mouse.kind {
            MouseEventKind::Down(_) => model.overlay = None,
            _ if wheel != 0 => model.overlay = Some(overlay.moved(at)),
            _ => return false,
        }
        return true;
    }
    if model.grabbed && matches!(mouse.kind, MouseEventKind::Up(_) | MouseEventKind::Drag(_)) {
        // The program that saw the button go down sees it come up, wherever the pointer is by then.
        model.grabbed = matches!(mouse.kind, MouseEventKind::Drag(_));
        let inside = layout::inside(panes.shell);
        if !inside.is_empty() {
            let column = mouse.column.clamp(inside.left(), inside.right() - 1);
            let row = mouse.row.clamp(inside.top(), inside.bottom() - 1);
            handle_mouse_in_shell(model, &MouseEvent { column, row, ..mouse }, inside, 0, effects);
        }
        return false;
    }
    let Some(pane) = panes.at(mouse.column, mouse.row) else {
        if mouse.kind == MouseEventKind::Down(MouseButton::Left)
            && panes.tabs.contains((mouse.column, mouse.row).into())
            && let Some(pane) = render::tab_at(model, mouse.column)
        {
            model.go_to(pane);
            return true;
        }
        return false;
    };
    let focused = model.focus == pane;
    if matches!(mouse.kind, MouseEventKind::Down(_)) {
        model.go_to(pane);
    }
    match pane {
        Pane::Shell => {
            handle_mouse_in_shell(model, &mouse, layout::inside(panes.shell), wheel, effects);
            focused != (model.focus == pane) || wheel != 0
        }
        Pane::Lesson if wheel != 0 => {
            scroll_by(model, -wheel);
            true
        }
        Pane::Map if wheel != 0 => {
            model.traffic.step(-wheel.signum(), model.now);
            true
        }
        Pane::Lesson | Pane::Map => !focused && model.focus == pane,
    }
}

fn handle_mouse_in_shell(
    model: &mut Model,
    mouse: &MouseEvent,
    inside: Rect,
    wheel: isize,
    effects: &mut Vec<Effect>,
) {
    if !inside.contains((mouse.column, mouse.row).into()) {
        return;
    }
    let screen = model.shell.screen();
    // The editor of the prompt knows no mouse, whatever was printed before.
    let bytes = match model.at_prompt {
        true => Vec::new(),
        false => keys::mouse(mouse, mouse.column - inside.x, mouse.row - inside.y, screen),
    };
    if !bytes.is_empty() {
        model.grabbed |= matches!(mouse.kind, MouseEventKind::Down(_));
        effects.push(Effect::Type(bytes));
    } else if wheel != 0 && model.program_has_screen() {
        // A pager that does not know mice gets cursor keys, as terminals do it.
        let code = if wheel > 0 { KeyCode::Up } else { KeyCode::Down };
        let key = keys::bytes(&KeyEvent::new(code, KeyModifiers::NONE), screen.application_cursor());
        effects.push(Effect::Type(key.repeat(NOTCH.unsigned_abs())));
    } else if wheel != 0 {
        model.shell.scroll(wheel);
    }
}
