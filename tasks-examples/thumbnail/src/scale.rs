//! Decoding, scaling and encoding of pictures, within bounds.

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

/// What a decoder may take: a picture of some 40 megapixels.
const DECODER_MEMORY: u64 = 128 << 20;

/// The picture, turned as its camera says.
pub fn decode(body: &[u8]) -> Result<DynamicImage, ImageError> {
    let mut reader = ImageReader::new(Cursor::new(body)).with_guessed_format()?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(DECODER_MEMORY);
    reader.limits(limits);
    let mut decoder = reader.into_decoder()?;
    let orientation = decoder.orientation()?;
    let mut picture = DynamicImage::from_decoder(decoder)?;
    picture.apply_orientation(orientation);
    Ok(picture)
}

/// Scales down to fit, never up.
pub fn fit(picture: DynamicImage, width: u32, height: u32) -> DynamicImage {
    if picture.width() <= width && picture.height() <= height {
        return picture;
    }
    picture.thumbnail(width, height)
}

/// The picture as PNG.
pub fn encode(picture: &DynamicImage) -> Result<Vec<u8>, ImageError> {
    let mut body = Cursor::new(Vec::new());
    picture.write_to(&mut body, ImageFormat::Png)?;
    Ok(body.into_inner())
}
