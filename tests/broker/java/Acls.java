import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

import org.apache.kafka.common.utils.Exit;
import org.apache.kafka.tools.AclCommand;

/**
 * Grants rights with Kafka's own tool: each line of the input holds the arguments of one call of
 * {@code kafka-acls}, separated by spaces. One JVM for all of them, since each would need a
 * second to start.
 */
public final class Acls {
    public static void main(String[] args) throws Exception {
        Exit.setExitProcedure((code, message) -> {
            throw new IllegalStateException("kafka-acls ends with " + code + ": " + message);
        });
        var lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            List<String> call = new ArrayList<>(List.of("--bootstrap-server", args[0]));
            call.addAll(Arrays.asList(line.split(" ")));
            AclCommand.main(call.toArray(String[]::new));
        }
    }
}
