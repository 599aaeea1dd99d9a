//! One question to the firmware of a Raspberry Pi, by the property call of `/dev/vcio`.
//!
//! The kernel copies a message of 32-bit words to the firmware and the answer over it:
//!
//! ```text
//! word 0  bytes of the message          request 0, becomes 0x80000000 | success
//! word 2  tag 0x00030080, "general command"
//! word 3  bytes of the tag's room, 4096          word 4  0: request
//! word 5  error of the command, 0 when it is known
//! word 6  the command, ended by a zero byte; the answer comes in its place
//! last    0: no further tag
//! ```
//!
//! as `vcgencmd` of raspberrypi/utils does it.

use std::fs::File;
use std::io;

use rustix::ioctl::{Updater, ioctl, opcode};

/// Bytes of a command and of its answer.
const TEXT_BYTES: usize = 4096;
const HEAD_WORDS: usize = 6;
const WORDS: usize = HEAD_WORDS + TEXT_BYTES / 4 + 1;
const TAG_COMMAND: u32 = 0x0003_0080;
/// What the firmware says of a message that it understood.
const DONE: u32 = 0x8000_0000;
/// `_IOWR(100, 0, char *)`: the size in the code is that of a pointer, not of the message.
const PROPERTY: rustix::ioctl::Opcode = opcode::read_write::<*mut u8>(100, 0);

/// The answer of the firmware behind `device`, an open `/dev/vcio` or `/dev/vcio_gencmd`, to `command`.
///
/// # Errors
/// When the device is another one, or the firmware refuses the command.
pub fn ask_firmware(device: &File, command: &str) -> io::Result<String> {
    let mut words = message(command)?;
    // SAFETY: this code is the property call of the kernel's `vcio` driver, which reads the size in word 0 and copies that many
    // bytes from and back to the address: `size_of` all of `words`, which `message` wrote there. Any other driver refuses the code
    // with ENOTTY, as type 100 ('d') number 0 of this size and direction is `vcio`'s alone.
    let call = unsafe { Updater::<PROPERTY, [u32; WORDS]>::new(&mut words) };
    // SAFETY: as above; the pointer is to `words`, which outlives the call.
    unsafe { ioctl(device, call) }?;
    answer(&words)
}

fn message(command: &str) -> io::Result<[u32; WORDS]> {
    let bytes = command.as_bytes();
    if bytes.len() >= TEXT_BYTES || bytes.contains(&0) {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let mut words = [0; WORDS];
    words[0] = (WORDS * 4) as u32;
    words[2] = TAG_COMMAND;
    words[3] = TEXT_BYTES as u32;
    for (word, four) in words[HEAD_WORDS..].iter_mut().zip(bytes.chunks(4)) {
        let mut padded = [0; 4];
        padded[..four.len()].copy_from_slice(four);
        *word = u32::from_le_bytes(padded);
    }
    Ok(words)
}

fn answer(words: &[u32; WORDS]) -> io::Result<String> {
    if words[1] & DONE == 0 {
        return Err(io::Error::other("the firmware did not take the message"));
    }
    if words[5] != 0 {
        return Err(io::Error::other(format!(
            "the firmware's error {}",
            words[5]
        )));
    }
    let text = &words[HEAD_WORDS..WORDS - 1];
    let bytes: Vec<u8> = text.iter().flat_map(|word| word.to_le_bytes()).collect();
    let bytes = bytes.split(|&byte| byte == 0).next().unwrap_or(&[]);
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_the_firmwares_layout() {
        assert_eq!(PROPERTY & 0xffff, 0x6400);
        #[cfg(target_pointer_width = "64")]
        assert_eq!(PROPERTY, 0xc008_6400);
        let words = message("pmic_read_adc").expect("short");
        assert_eq!(words[..6], [4124, 0, TAG_COMMAND, 4096, 0, 0]);
        assert_eq!(words[6], u32::from_le_bytes(*b"pmic"));
        assert_eq!(words[9], u32::from_le_bytes(*b"c\0\0\0"));
        assert_eq!(words[10..], [0; WORDS - 10]);
        assert!(
            message(&"x".repeat(TEXT_BYTES)).is_err(),
            "no room for its end"
        );
        assert!(message("a\0b").is_err(), "two commands in one");
    }

    #[test]
    fn an_answer_ends_with_its_zero() {
        let mut words = message("volt=1.2V").expect("short");
        assert!(answer(&words).is_err(), "nobody answered");
        words[1] = DONE;
        assert_eq!(answer(&words).expect("an answer"), "volt=1.2V");
        words[5] = 1;
        assert!(answer(&words).is_err(), "an unknown command");
        words[5] = 0;
        words[HEAD_WORDS..].fill(u32::from_le_bytes(*b"abcd"));
        assert_eq!(answer(&words).expect("all of it").len(), TEXT_BYTES);
    }

    #[test]
    fn another_device_refuses_the_call() {
        let file = File::open("/dev/null").expect("it is always there");
        assert!(ask_firmware(&file, "pmic_read_adc").is_err());
    }
}
