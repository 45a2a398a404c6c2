import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import org.apache.kafka.streams.processor.Cancellable;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;

/** Timers that are set, cancelled, anchored and set again. Every processor passes its records on. */
final class ProcessorTimers {
    static void register(final Map<String, Scenario> all) {
        for (final PunctuationType type : PunctuationType.values()) {
            final String clock =
                    type == PunctuationType.STREAM_TIME ? "stream_time" : "wall_clock";
            put(all, "timers_cancelled_" + clock, () -> new Cancelled(type));
            put(all, "timers_anchored_" + clock, () -> new Anchored(type));
            put(all, "timers_two_" + clock, () -> new Two(type));
        }
        put(all, "timers_set_by_timers", Rescheduled::new);
    }

    private static void put(
            final Map<String, Scenario> all,
            final String name,
            final Supplier<Processor<String, String, String, String>> processor) {
        all.put(
                name,
                Scenario.of(
                        b -> b.<String, String>stream("in").process(processor::get).to("out"),
                        "out"));
    }

    private abstract static class Timed implements Processor<String, String, String, String> {
        ProcessorContext<String, String> context;

        @Override
        public void init(final ProcessorContext<String, String> context) {
            this.context = context;
        }

        @Override
        public void process(final Record<String, String> record) {
            context.forward(record);
        }

        void tick(final String name, final long time) {
            context.forward(new Record<>(name, Long.toString(time), time));
        }
    }

    /** "b" sets another timer, "c" cancels the oldest, "d" lets the next that fires cancel all. */
    private static final class Cancelled extends Timed {
        private final PunctuationType type;
        private final List<Cancellable> timers = new ArrayList<>();
        private boolean cancelsAll;

        Cancelled(final PunctuationType type) {
            this.type = type;
        }

        @Override
        public void process(final Record<String, String> record) {
            context.forward(record);
            if ("b".equals(record.value())) {
                timers.add(context.schedule(Duration.ofMillis(10), type, this::punctuate));
            } else if ("c".equals(record.value()) && !timers.isEmpty()) {
                timers.remove(0).cancel();
            } else if ("d".equals(record.value())) {
                cancelsAll = true;
            }
        }

        private void punctuate(final long time) {
            tick("timer", time);
            if (cancelsAll) {
                cancelsAll = false;
                timers.forEach(Cancellable::cancel);
                timers.clear();
            }
        }
    }

    /**
     * A timer that starts at 13, and one that is set with "b" and starts at 17. Not if it is 17 just
     * then: this driver looks for timers that are due only when the clock moves.
     */
    private static final class Anchored extends Timed {
        private final PunctuationType type;
        private boolean scheduled;

        Anchored(final PunctuationType type) {
            this.type = type;
        }

        @Override
        public void init(final ProcessorContext<String, String> context) {
            super.init(context);
            set("first", 13);
        }

        @Override
        public void process(final Record<String, String> record) {
            context.forward(record);
            if ("b".equals(record.value()) && !scheduled && context.currentSystemTimeMs() != 17) {
                scheduled = true;
                set("second", 17);
            }
        }

        private void set(final String name, final long start) {
            context.schedule(
                    Instant.ofEpochMilli(start),
                    Duration.ofMillis(10),
                    type,
                    time -> tick(name, time));
        }
    }

    /** Timers of two intervals that meet at times. */
    private static final class Two extends Timed {
        private final PunctuationType type;

        Two(final PunctuationType type) {
            this.type = type;
        }

        @Override
        public void init(final ProcessorContext<String, String> context) {
            super.init(context);
            context.schedule(Duration.ofMillis(10), type, time -> tick("ten", time));
            context.schedule(Duration.ofMillis(4), type, time -> tick("four", time));
        }
    }

    /** Each timer ends itself and sets the next, after 3 and 10 milliseconds in turn. */
    private static final class Rescheduled extends Timed {
        private Cancellable timer;
        private long interval = 3;

        @Override
        public void init(final ProcessorContext<String, String> context) {
            super.init(context);
            set();
        }

        private void set() {
            timer =
                    context.schedule(
                            Duration.ofMillis(interval),
                            PunctuationType.WALL_CLOCK_TIME,
                            this::punctuate);
        }

        private void punctuate(final long time) {
            tick("timer", time);
            timer.cancel();
            interval = 13 - interval;
            set();
        }
    }

    private ProcessorTimers() {}
}
