//! The fields of one message: their numbers, and their values as bytes and numbers.

/// A value as it stands in a message.
pub(super) enum Wire<'a> {
    Varint(u64),
    Fixed(u64),
    Bytes(&'a [u8]),
    /// A group, whose fields were skipped: no message of Kubernetes has one.
    Group,
}

/// The error of a field whose value is of another form than its type.
pub(super) const WRONG_WIRE: &str = "malformed protobuf message: wrong wire type";

impl<'a> Wire<'a> {
    /// # Errors
    /// The value is none of bytes.
    pub(super) fn bytes(self) -> Result<&'a [u8], String> {
        match self {
            Wire::Bytes(bytes) => Ok(bytes),
            _ => Err(WRONG_WIRE.to_string()),
        }
    }

    /// # Errors
    /// The value is no number of variable length.
    pub(super) fn varint(self) -> Result<u64, String> {
        match self {
            Wire::Varint(number) => Ok(number),
            _ => Err(WRONG_WIRE.to_string()),
        }
    }
}

/// The fields of one message: (number, value).
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    /// Name of the message in Go. An entry of a map has none, and is read without its checks.
    message: Option<&'a str>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(message: &'a str, bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes, message: Some(message) }
    }
    /// Reads what has no name: an entry of a map, of which Go skips all fields but the key and the
    /// value, or packed numbers.
    pub(super) fn of_entry(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes, message: None }
    }
    /// Returns the number of a field. A number has 29 bits; Go takes 32 of what a tag has, with a
    /// sign.
    ///
    /// # Errors
    /// The field is the end of a group, or its number is not positive (`Unmarshal` of each message
    /// in `generated.pb.go` upstream).
    ///
    /// Example: the tag 2 is field 0 with a text: `proto: Pod: illegal tag 0 (wire type 2)`.
    fn number(&self, tag: u64) -> Result<u32, String> {
        let number = (tag >> 3) as i32;
        match self.message {
            Some(name) if tag & 7 == 4 => Err(format!("proto: {name}: wiretype end group for non-group")),
            Some(name) if number <= 0 => {
                Err(format!("proto: {name}: illegal tag {number} (wire type {tag})"))
            }
            _ => Ok(number as u32),
        }
    }
    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let (&byte, rest) = self.rest.split_first().ok_or("unexpected EOF")?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("proto: integer overflow".to_string())
    }
    /// Reads the next of numbers that stand in one field, one behind the other (`packed`); `None`
    /// after the last one. Go reads them so beside numbers that have a field each.
    pub(super) fn next_packed(&mut self) -> Option<Result<u64, String>> {
        (!self.rest.is_empty()).then(|| self.varint())
    }
    fn take(&mut self, length: u64) -> Result<&'a [u8], String> {
        if length > self.rest.len() as u64 {
            return Err("unexpected EOF".to_string());
        }
        let (taken, rest) = self.rest.split_at(length as usize);
        self.rest = rest;
        Ok(taken)
    }
    fn read(&mut self) -> Result<(u32, Wire<'a>), String> {
        let tag = self.varint()?;
        let number = self.number(tag)?;
        let wire = match tag & 7 {
            3 => {
                self.skip_group()?;
                Wire::Group
            }
            wire_type => self.value(wire_type)?,
        };
        Ok((number, wire))
    }
    /// Reads a value that is no group.
    fn value(&mut self, wire_type: u64) -> Result<Wire<'a>, String> {
        let little = |b: &[u8]| b.iter().rev().fold(0u64, |n, &x| n << 8 | u64::from(x));
        Ok(match wire_type {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed(little(self.take(8)?)),
            2 => {
                let length = self.varint()?;
                Wire::Bytes(self.take(length)?)
            }
            4 => return Err("proto: unexpected end of group".to_string()),
            5 => Wire::Fixed(little(self.take(4)?)),
            other => return Err(format!("proto: illegal wireType {other}")),
        })
    }
    /// Skips the rest of a group, whose tag was read, until the tag that ends it. As in Go
    /// (`skipGenerated` in `generated.pb.go`) groups nest without a bound, since nothing recurses,
    /// and numbers of fields do not count in them: any end ends the innermost group.
    fn skip_group(&mut self) -> Result<(), String> {
        let mut depth = 1usize;
        while depth > 0 {
            match self.varint()? & 7 {
                3 => depth += 1,
                4 => depth -= 1,
                wire_type => {
                    self.value(wire_type)?;
                }
            }
        }
        Ok(())
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<(u32, Wire<'a>), String>;
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let item = self.read();
        if item.is_err() {
            self.rest = &[];
        }
        Some(item)
    }
}
