//! `doctor`: what this machine allows.

use super::args::Output;
use crate::linux::probe;
use serde_json::json;

pub fn doctor(output: Option<Output>) -> anyhow::Result<i32> {
    let found = probe::probe();
    let fatal = found.iter().any(|c| !c.ok && c.required);
    if output == Some(Output::Json) {
        let list: Vec<_> = found
            .iter()
            .map(|c| json!({"name": c.name, "ok": c.ok, "required": c.required, "detail": c.detail, "lost": c.what_is_lost, "mend": c.how_to_mend}))
            .collect();
        println!("{}", serde_json::to_string_pretty(&list)?);
    } else {
        for c in &found {
            println!("{}  {:<24} {}", if c.ok { "ok  " } else { "LACK" }, c.name, c.detail);
            if !c.ok {
                println!("      without it: {}", c.what_is_lost);
                println!("      to mend it: {}", c.how_to_mend);
            }
        }
        println!("\n{}", match fatal {
            true => "This machine cannot run a cluster yet: mend what is marked LACK and required.",
            false => "This machine can run a cluster.",
        });
    }
    Ok(i32::from(fatal))
}
