//! `doctor`: what this machine allows. It forks, so it runs before anything has threads.

use super::args::Output;
use crate::lang::charset::println;
use crate::linux::probe;
use crate::net;
use serde_json::json;

pub fn doctor(output: Option<Output>) -> anyhow::Result<i32> {
    let found = probe::probe(net::probe::trials)?;
    let fatal = found.iter().any(probe::Capability::is_fatal);
    if output == Some(Output::Json) {
        std::println!("{}", serde_json::to_string_pretty(&json!(found))?);
        return Ok(i32::from(fatal));
    }
    for c in &found {
        println!("{}  {:<28} {}", if c.ok { "ok  " } else { "LACK" }, c.name, c.found);
        if !c.ok {
            println!("      without it: {}", c.what_is_lost);
            println!("      to mend it: {}", c.how_to_mend);
        }
    }
    println!(
        "\n{}",
        match fatal {
            true => "This machine cannot run a cluster yet: mend what is lacking above.",
            false => "This machine can run a cluster.",
        }
    );
    Ok(i32::from(fatal))
}
