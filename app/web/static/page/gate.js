/** The gate's figures in words: how a candidate did beside the version that was active. */

const NUMBER = new Intl.NumberFormat("en-GB");

/** One sentence for each set of pictures. */
export const gateInWords = ({ active, mnist, feedback }) => [
  compared(mnist, active, "held-out digits"),
  feedback.images ? compared(feedback, active, "held-out feedback images") : "No feedback was held out to compare on.",
];

function compared({ images, active_right, candidate_right, won, lost, p_worse }, active, what) {
  const [all, before, after] = [images, active_right, candidate_right].map((count) => NUMBER.format(count));
  return (
    `Of ${all} ${what} it reads ${after} correctly, ${active} ${before}: ` +
    `${NUMBER.format(won)} won, ${NUMBER.format(lost)} lost. ${verdict(p_worse)}`
  );
}

/** p_worse: how likely so many losses, or more, are if neither is better. */
const verdict = (p_worse) =>
  p_worse < 0.05 ? `Worse, and not by chance (${p(p_worse, 4)}).` : `No sign that it is worse (${p(p_worse, 2)}).`;

const p = (value, digits) => {
  const least = 10 ** -digits;
  return value < least ? `p\u00a0<\u00a0${least}` : `p\u00a0=\u00a0${value.toFixed(digits)}`;
};
