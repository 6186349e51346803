//! `foreshore new tool NAME` and `new agent NAME`: a component of one's own, ready to build.
//!
//! The files are part of this binary. Nothing that exists is ever overwritten: the folder is made
//! by this command or the command fails.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use foreshore_shipped::project::{self, ProjectFile, ProjectNameError};

use super::exit::{Exit, Failure};
use super::output::{Paint, print};

/// Start a component of your own.
#[derive(Debug, Subcommand)]
pub(super) enum New {
    /// A tool in Rust, with test cases; needs nothing but cargo
    Tool(NewComponent),
    /// An agent in Rust, with a test that plays its model; needs nothing but cargo
    Agent(NewComponent),
}

#[derive(Debug, Args)]
pub(super) struct NewComponent {
    /// The component's name: a-z, 0-9, "-" and "_"
    name: String,
    /// The folder to make [default: ./NAME]
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
}

impl New {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::Tool(command) => command.tool(),
            Self::Agent(command) => command.agent(),
        }
    }
}

impl NewComponent {
    fn tool(self) -> Result<Exit, Failure> {
        let made = self.make(project::tool(&self.name))?;
        let (folder, name, wasm) = (self.folder(), &self.name, self.wasm());
        let folder = folder.display();
        print(&format!(
            "{made}

Next:
  cd {folder}
  cargo build --release --target wasm32-wasip2
  foreshore test {wasm} --cases cases
  foreshore call {name}.count '{{\"path\": \"/data/README.md\"}}' \\
    --component {wasm} --mount ./:/data:ro
"
        ));
        Ok(Exit::Success)
    }

    fn agent(self) -> Result<Exit, Failure> {
        let made = self.make(project::agent(&self.name))?;
        let folder = self.folder();
        let folder = folder.display();
        print(&format!(
            "{made}

Next:
  cd {folder}
  cargo test
  cargo build --release --target wasm32-wasip2
  foreshore component inspect {wasm}
",
            wasm = self.wasm()
        ));
        Ok(Exit::Success)
    }

    /// Writes the files; the line that says so.
    fn make(&self, files: Result<Vec<ProjectFile>, ProjectNameError>) -> Result<String, Failure> {
        let files = files.map_err(|error| Failure::Usage(error.to_string()))?;
        let folder = self.folder();
        write(&folder, &files)?;
        let made = Paint::stdout().green("made");
        Ok(format!("{made} {} ({} files)", folder.display(), files.len()))
    }

    fn folder(&self) -> PathBuf {
        self.path.clone().unwrap_or_else(|| PathBuf::from(&self.name))
    }

    /// The component, from the folder, once it is built.
    fn wasm(&self) -> String {
        format!("target/wasm32-wasip2/release/{}.wasm", self.name.replace('-', "_"))
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
