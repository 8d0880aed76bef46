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
Exit code 1: no node has such a rule; 2: a wrong argument.")]
    Show {
        /// NAME, svc/NAME, pod/NAME or NAMESPACE/KIND/NAME
        #[arg(value_name = "SERVICE|POD")]
        what: Option<String>,
        #[arg(short, long, default_value = "default")]
        namespace: String,
        /// Language of the sentences
        #[arg(long, value_enum)]
        lang: Option<lang::Lang>,
        /// Output for machines
        #[arg(short, long, value_enum)]
        output: Option<Output>,
    },
}
