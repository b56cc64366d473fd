//! Scales pictures down: PNG or JPEG in, PNG out.

mod scale;

use stem_guest::{Attempt, Context, Interruption, OrInterrupt, Payload};

/// Pixels of either side where the producer asks for nothing.
const DEFAULT_SIDE: u32 = 160;
const LARGEST_SIDE: u32 = 2_048;

/// Scales a PNG or JPEG down to fit the headers thumbnail-width and thumbnail-height (160 each), as PNG.
#[stem_guest::task(
    max_attempts = 3,
    hard_time_limit = "30s",
    memory_limit = "256MiB",
    output_limit = "8MiB"
)]
fn thumbnail(ctx: &Context, picture: Payload) -> Result<Payload, Interruption> {
    let width = side(ctx.attempt(), "thumbnail-width")?;
    let height = side(ctx.attempt(), "thumbnail-height")?;
    let picture = scale::decode(&picture.body).or_reject("bad-picture")?;
    ctx.progress(
        0.6,
        format!("decoded {} × {}", picture.width(), picture.height()),
    );
    let small = scale::fit(picture, width, height);
    ctx.progress(
        0.9,
        format!("scaled to {} × {}", small.width(), small.height()),
    );
    Ok(Payload::new("image/png", scale::encode(&small)?))
}

fn side(attempt: &Attempt, header: &str) -> Result<u32, Interruption> {
    let Some(value) = attempt.header(header) else {
        return Ok(DEFAULT_SIDE);
    };
    match value.parse() {
        Ok(side) if (1..=LARGEST_SIDE).contains(&side) => Ok(side),
        _ => Err(Interruption::reject(
            "bad-header",
            format!("{header} takes 1 to {LARGEST_SIDE}, not {value:?}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, ImageFormat};

    use super::*;

    fn picture(width: u32, height: u32, format: ImageFormat) -> Payload {
        let mut body = std::io::Cursor::new(Vec::new());
        DynamicImage::new_rgb8(width, height)
            .write_to(&mut body, format)
            .expect("a picture");
        Payload::new(format.to_mime_type(), body.into_inner())
    }

    fn scaled(ctx: &Context, picture: Payload) -> (u32, u32) {
        let small = thumbnail(ctx, picture).expect("scaled");
        assert_eq!(small.content_type, "image/png");
        let small = scale::decode(&small.body).expect("a picture");
        (small.width(), small.height())
    }

    #[test]
    fn a_picture_fits_its_size_and_keeps_its_shape() {
        let ctx = Context::for_test();
        assert_eq!(scaled(&ctx, picture(640, 320, ImageFormat::Png)), (160, 80));
        assert_eq!(
            scaled(&ctx, picture(300, 600, ImageFormat::Jpeg)),
            (80, 160)
        );
        let wide = Context::for_test().with_header("thumbnail-width", "400");
        assert_eq!(
            scaled(&wide, picture(640, 320, ImageFormat::Png)),
            (320, 160)
        );
    }

    #[test]
    fn a_small_picture_stays_as_large_as_it_is() {
        assert_eq!(
            scaled(&Context::for_test(), picture(8, 4, ImageFormat::Png)),
            (8, 4)
        );
    }

    #[test]
    fn what_is_no_picture_and_no_size_is_rejected() {
        let rejected = |ctx: &Context, payload| match thumbnail(ctx, payload) {
            Err(Interruption::Reject(failure)) => failure.kind,
            other => panic!("{other:?}"),
        };
        let ctx = Context::for_test();
        assert_eq!(
            rejected(&ctx, Payload::new("image/png", "GIF89a")),
            "bad-picture"
        );
        let odd = ctx.with_header("thumbnail-width", "0");
        assert_eq!(
            rejected(&odd, picture(8, 4, ImageFormat::Png)),
            "bad-header"
        );
    }
}
