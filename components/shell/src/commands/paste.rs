//! `paste`.

use crate::commands::Invocation;
use crate::commands::arguments::Arguments;
use crate::escapes::{Style, unescape};
use crate::halt::Ran;
use crate::stream::{Input, StreamError};

pub(super) fn paste(call: &mut Invocation<'_>) -> Ran {
    let arguments =
        Arguments::parse(call.arguments, "d:s", &[("delimiters", 'd'), ("serial", 's')])?;
    let list = unescape(arguments.value('d').unwrap_or("\t"), Style::Quoted).bytes;
    let delimiters: Vec<String> =
        String::from_utf8_lossy(&list).chars().map(String::from).collect();
    let delimiter = |index: usize| match delimiters.len() {
        0 => "",
        count => delimiters[index % count].as_str(),
    };
    let mut inputs = Vec::new();
    let status = call.each_input(&arguments.operands, |_, _, input| {
        inputs.push(input.clone());
        Ok(())
    })?;
    if arguments.has('s') {
        for input in &inputs {
            let mut joined = Vec::new();
            let mut index = 0;
            while let Some(line) = line(input)? {
                if index > 0 {
                    joined.extend_from_slice(delimiter(index - 1).as_bytes());
                }
                joined.extend_from_slice(&line);
                call.bounded(joined.len())?;
                index += 1;
            }
            joined.push(b'\n');
            call.write(&joined)?;
        }
        return Ok(status);
    }
    loop {
        let (mut joined, mut any) = (Vec::new(), false);
        for (index, input) in inputs.iter().enumerate() {
            if index > 0 {
                joined.extend_from_slice(delimiter(index - 1).as_bytes());
            }
            if let Some(line) = line(input)? {
                any = true;
                joined.extend_from_slice(&line);
                call.bounded(joined.len())?;
            }
        }
        if !any {
            return Ok(status);
        }
        joined.push(b'\n');
        call.write(&joined)?;
    }
}

fn line(input: &Input) -> Result<Option<Vec<u8>>, StreamError> {
    let mut line = input.line()?;
    if let Some(line) = &mut line
        && line.last() == Some(&b'\n')
    {
        line.pop();
    }
    Ok(line)
}
