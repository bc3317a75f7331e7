use std::io::{Write, stdout};

use clap::{Args, Command};
use clap_complete::{Shell, generate};

pub const EXAMPLES: &str = "\
Examples:
  bash, for this user:  retro completions bash > ~/.local/share/bash-completion/completions/retro
  bash, for now:        source <(retro completions bash)
  zsh:                  retro completions zsh > ~/.zfunc/_retro, with `fpath+=~/.zfunc` before `compinit` in ~/.zshrc
  fish:                 retro completions fish > ~/.config/fish/completions/retro.fish";

#[derive(Args)]
pub struct CompletionsArgs {
    /// Which shell
    shell: Shell,
}

/// Prints a shell's script for `command`.
pub fn run(args: &CompletionsArgs, command: Command) -> anyhow::Result<()> {
    let mut script = Vec::new();
    generate(args.shell, &mut shown(command), "retro", &mut script);
    Ok(stdout().write_all(&script)?)
}

/// The command without what people do not call: the scripts offer hidden subcommands too.
fn shown(command: Command) -> Command {
    let subcommands: Vec<Command> = command.get_subcommands().filter(|sub| !sub.is_hide_set()).cloned().collect();
    Command::new("retro")
        .version(env!("CARGO_PKG_VERSION"))
        .propagate_version(true)
        .subcommand_required(true)
        .subcommands(subcommands)
}
