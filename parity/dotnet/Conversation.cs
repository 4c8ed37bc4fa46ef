using System.Net.WebSockets;
using System.Text;
using Azure.AI.AgentServer.Invocations;

namespace ReferenceAgent;

/// <summary>The WebSocket side: binary messages come back, text messages are commands or come back.</summary>
internal static class Conversation
{
    public static async Task TalkAsync(WebSocket socket, InvocationContext context, CancellationToken cancellationToken)
    {
        while (await ReceiveAsync(socket, cancellationToken) is var (type, payload) && type != WebSocketMessageType.Close)
        {
            if (type == WebSocketMessageType.Binary)
            {
                await socket.SendAsync(payload, type, true, cancellationToken);
            }
            else if (!await AnswerAsync(socket, context, Encoding.UTF8.GetString(payload), cancellationToken))
            {
                return;
            }
        }
    }

    private static async Task<(WebSocketMessageType Type, byte[] Payload)> ReceiveAsync(
        WebSocket socket, CancellationToken cancellationToken)
    {
        using var message = new MemoryStream();
        var buffer = new byte[65536];
        while (true)
        {
            var part = await socket.ReceiveAsync(buffer, cancellationToken);
            message.Write(buffer, 0, part.Count);
            if (part.MessageType == WebSocketMessageType.Close || part.EndOfMessage)
            {
                return (part.MessageType, message.ToArray());
            }
        }
    }

    /// <summary>Does what the text says.</summary>
    /// <returns>Whether the conversation goes on.</returns>
    private static async Task<bool> AnswerAsync(
        WebSocket socket, InvocationContext context, string text, CancellationToken cancellationToken)
    {
        var parts = text.Split(':', 3);
        switch (parts[0])
        {
            case "return" when parts.Length == 1:
                return false;
            case "context" when parts.Length == 1:
                await SendAsync(socket, Answer.Json(Answer.Describe(context)), cancellationToken);
                return true;
            case "stream" when parts.Length == 2 && int.TryParse(parts[1], out var count):
                for (var number = 0; number < count; number++)
                {
                    await SendAsync(socket, number.ToString(), cancellationToken);
                }

                return true;
            case "close" when parts.Length > 1 && int.TryParse(parts[1], out var code):
                var reason = parts.Length > 2 ? parts[2] : "";
                await socket.CloseAsync((WebSocketCloseStatus)code, reason, cancellationToken);
                return false;
            case "hold" when parts.Length == 2 && int.TryParse(parts[1], out var milliseconds):
                await Task.Delay(milliseconds, cancellationToken);
                return true;
            case "raise":
                throw Failure(parts.Length > 1 ? parts[1] : "");
            default:
                await SendAsync(socket, text, cancellationToken);
                return true;
        }
    }

    private static Exception Failure(string kind) => kind switch
    {
        "cancelled" => new OperationCanceledException("boom"),
        "timeout" => new TimeoutException("boom"),
        _ => new InvalidOperationException("boom"),
    };

    private static Task SendAsync(WebSocket socket, string text, CancellationToken cancellationToken)
        => socket.SendAsync(Encoding.UTF8.GetBytes(text), WebSocketMessageType.Text, true, cancellationToken);
}
