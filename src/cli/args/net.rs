//! The commands of `net`.

use super::output::Output;
use clap::Subcommand;

#[derive(Subcommand, Debug)]
pub(crate) enum Net {
    /// Show the rules of a Service, or those that lead to a pod, with a sentence beside each
    #[command(after_help = "Examples:
  ropewalk net show web          the Service web of namespace default, else the pod web
  ropewalk net show svc/db -n shop
  ropewalk net show pod/web-1    the Services that lead to this pod
  ropewalk net show              all Services, and the rules that they share
What is shown is read from the kernels: rules stay when kube-proxy dies, and are not renewed.
Exit code 1: no node has such a rule, or a node could not be asked; 2: a wrong argument.")]
    Show {
        /// NAME, svc/NAME, pod/NAME or NAMESPACE/KIND/NAME
        #[arg(value_name = "SERVICE|POD")]
        what: Option<String>,
        #[arg(short, long, default_value = "default", value_parser = namespace)]
        namespace: String,
        /// Language of the sentences
        #[arg(long, value_enum)]
        lang: Option<lang::Lang>,
        /// Output for machines
        #[arg(short, long, value_enum)]
        output: Option<Output>,
    },
}

/// Reads a namespace. An empty one is `default`, as to kubectl: a script may have a variable that
/// is not set.
fn namespace(text: &str) -> Result<String, std::convert::Infallible> {
    Ok(if text.is_empty() { "default" } else { text }.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser, Debug)]
    struct Words {
        #[command(subcommand)]
        command: Net,
    }

    /// It would be looked for as `/web`, and said not to exist.
    #[test]
    fn an_empty_namespace_is_the_default_one() {
        for (line, expected) in [
            (&["net", "show", "web", "-n", ""][..], "default"),
            (&["net", "show", "web", "-n", "shop"], "shop"),
            (&["net", "show"], "default"),
        ] {
            let Net::Show { namespace, .. } = Words::try_parse_from(line).unwrap().command;
            assert_eq!(namespace, expected, "{line:?}");
        }
    }
}
