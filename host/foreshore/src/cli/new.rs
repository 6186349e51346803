//! `foreshore new tool NAME`: a component of one's own, ready to build.
//!
//! The files are part of this binary. Nothing that exists is ever overwritten: the folder is made
//! by this command or the command fails.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use foreshore_shipped::project::{self, ProjectFile};

use super::exit::{Exit, Failure};
use super::output::{Paint, print};

/// Start a component of your own.
#[derive(Debug, Subcommand)]
pub(super) enum New {
    /// A tool in Rust, with test cases; needs nothing but cargo
    Tool(NewTool),
}

#[derive(Debug, Args)]
pub(super) struct NewTool {
    /// The component's name: a-z, 0-9, "-" and "_"
    name: String,
    /// The folder to make [default: ./NAME]
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
}

impl New {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::Tool(command) => command.run(),
        }
    }
}

impl NewTool {
    fn run(self) -> Result<Exit, Failure> {
        let files = project::tool(&self.name).map_err(|error| Failure::Usage(error.to_string()))?;
        let folder = self.path.clone().unwrap_or_else(|| PathBuf::from(&self.name));
        write(&folder, &files)?;
        let paint = Paint::stdout();
        let (made, count) = (paint.green("made"), files.len());
        let wasm = self.name.replace('-', "_");
        let (folder, name) = (folder.display(), &self.name);
        print(&format!(
            "{made} {folder} ({count} files)

Next:
  cd {folder}
  cargo build --release --target wasm32-wasip2
  foreshore test target/wasm32-wasip2/release/{wasm}.wasm --cases cases
  foreshore call {name}.count '{{\"path\": \"/data/README.md\"}}' \\
    --component target/wasm32-wasip2/release/{wasm}.wasm --mount ./:/data:ro
"
        ));
        Ok(Exit::Success)
    }
}

fn write(folder: &Path, files: &[ProjectFile]) -> Result<(), Failure> {
    match std::fs::create_dir(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(Failure::Usage(format!(
                "{} exists already, and nothing is overwritten; choose another --path",
                folder.display()
            )));
        }
        Err(error) => {
            return Err(anyhow::Error::new(error).context(folder.display().to_string()).into());
        }
    }
    for file in files {
        let path = folder.join(file.path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
        }
        std::fs::write(&path, &file.text).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_exists_is_left_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let folder = directory.path().join("hello");
        let files = [ProjectFile { path: "src/lib.rs", text: "fn main() {}".to_owned() }];
        write(&folder, &files).expect("made");
        std::fs::write(folder.join("src/lib.rs"), "mine").expect("written");
        assert!(matches!(write(&folder, &files), Err(Failure::Usage(_))));
        let kept = std::fs::read_to_string(folder.join("src/lib.rs")).expect("there");
        assert_eq!(kept, "mine");
    }
}
